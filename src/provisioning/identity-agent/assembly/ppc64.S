# Registers: r14 = buffer, r15 = received bytes, r16 = call. An error is positive, with CR0.SO set.
        .globl _start
_start:
        lis     14, 0x81
        ori     14, 14, 0x1000
execute:
        addi    16, 14, 64
next:
        ld      0, 0(16)
        cmpdi   0, 0
        blt     receive
        ld      3, 8(16)
        ld      4, 16(16)
        ld      5, 24(16)
        ld      6, 32(16)
        ld      7, 40(16)
        sc
        bns     1f
        neg     3, 3
1:      ld      9, 48(16)
        std     3, 0(9)
        ld      9, 56(16)
        std     3, 0(9)
        addi    16, 16, 64
        b       next
receive:
        li      15, 0
more:
        li      0, 3                    # read
        li      3, 10
        add     4, 14, 15
        subfic  5, 15, 4096
        sc
        bso     pause
        cmpdi   3, 0
        ble     pause
        add     15, 15, 3
        cmpldi  15, 4096
        blt     more
        b       execute
pause:
        li      0, 162                  # nanosleep
        addi    3, 14, 4096
        li      4, 0
        sc
        b       receive
