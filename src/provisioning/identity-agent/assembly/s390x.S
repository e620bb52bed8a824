# Registers: r12 = buffer, r11 = received bytes, r10 = call.
        .globl _start
_start:
        llilf   %r12, 0x811000
execute:
        la      %r10, 64(%r12)
next:
        lg      %r1, 0(%r10)
        ltgr    %r1, %r1
        jl      receive
        lmg     %r2, %r6, 8(%r10)
        svc     0
        lg      %r9, 48(%r10)
        stg     %r2, 0(%r9)
        lg      %r9, 56(%r10)
        stg     %r2, 0(%r9)
        aghi    %r10, 64
        j       next
receive:
        lghi    %r11, 0
more:
        lghi    %r1, 3                  # read
        lghi    %r2, 10
        la      %r3, 0(%r11, %r12)
        lghi    %r4, 4096
        sgr     %r4, %r11
        svc     0
        ltgr    %r2, %r2
        jle     pause
        agr     %r11, %r2
        cghi    %r11, 4096
        jl      more
        j       execute
pause:
        lghi    %r1, 162                # nanosleep
        lay     %r2, 4096(%r12)
        lghi    %r3, 0
        svc     0
        j       receive
