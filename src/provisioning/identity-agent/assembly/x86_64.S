# Registers: rbx = buffer, r12 = received bytes, r13 = call.
        .globl _start
_start:
        mov     $0x811000, %ebx
execute:
        lea     64(%rbx), %r13
next:
        mov     (%r13), %rax
        test    %rax, %rax
        js      receive
        mov     8(%r13), %rdi
        mov     16(%r13), %rsi
        mov     24(%r13), %rdx
        mov     32(%r13), %r10
        mov     40(%r13), %r8
        syscall
        mov     48(%r13), %rcx
        mov     %rax, (%rcx)
        mov     56(%r13), %rcx
        mov     %rax, (%rcx)
        add     $64, %r13
        jmp     next
receive:
        xor     %r12d, %r12d
more:
        xor     %eax, %eax              # read
        mov     $10, %edi
        lea     (%rbx, %r12), %rsi
        mov     $4096, %edx
        sub     %r12d, %edx
        syscall
        test    %eax, %eax
        jle     pause
        add     %eax, %r12d
        cmp     $4096, %r12d
        jb      more
        jmp     execute
pause:
        mov     $35, %eax               # nanosleep
        lea     4096(%rbx), %rdi
        xor     %esi, %esi
        syscall
        jmp     receive
