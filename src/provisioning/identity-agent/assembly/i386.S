# Registers: esi = call in `next`, received bytes elsewhere. The buffer has a constant address.
        .set    buffer, 0x811000
        .globl _start
_start:
execute:
        mov     $buffer + 64, %esi
next:
        mov     (%esi), %eax
        test    %eax, %eax
        js      receive
        push    %esi
        mov     4(%esi), %ebx
        mov     8(%esi), %ecx
        mov     12(%esi), %edx
        mov     20(%esi), %edi
        mov     16(%esi), %esi
        int     $0x80
        pop     %esi
        mov     24(%esi), %ecx
        mov     %eax, (%ecx)
        mov     28(%esi), %ecx
        mov     %eax, (%ecx)
        add     $32, %esi
        jmp     next
receive:
        xor     %esi, %esi
more:
        mov     $3, %eax                # read
        mov     $10, %ebx
        lea     buffer(%esi), %ecx
        mov     $4096, %edx
        sub     %esi, %edx
        int     $0x80
        test    %eax, %eax
        jle     pause
        add     %eax, %esi
        cmp     $4096, %esi
        jb      more
        jmp     execute
pause:
        mov     $162, %eax              # nanosleep
        mov     $buffer + 4096, %ebx
        xor     %ecx, %ecx
        int     $0x80
        jmp     receive
