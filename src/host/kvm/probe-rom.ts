/**
 * Probe guest: a firmware image that runs the first steps of a kernel. It writes one letter per
 * stage to the first serial port (0x3F8); probe.ts lists the stages. Then it prints the TSC ticks
 * of 10 ms and of five runs of a loop, each as a space and eight digits `A` to `P`, followed by
 * `z`.
 *
 * Each line contains the offset in the ROM, the bytes, and the assembler source (GNU as, Intel
 * syntax). The ROM is mapped below 4 GiB, where the processor starts, and at 0xF0000, the link
 * address.
 */
const LISTING = `
  # 16-bit code
  real_mode:
  0000  fa                    cli
  0001  baf803                mov dx, 0x3f8
  0004  b072                  mov al, 'r'
  0006  ee                    out dx, al
  0007  2e0f0116b302          lgdt cs:[gdt_pointer - 0xf0000]
  000d  0f20c0                mov eax, cr0
  0010  0c01                  or al, 1
  0012  0f22c0                mov cr0, eax
  0015  66ea1d000f000800      ljmp 0x08:protected_mode
  # 32-bit code
  protected_mode:
  001d  b810000000            mov eax, 0x10
  0022  8ed8                  mov ds, eax
  0024  8ec0                  mov es, eax
  0026  8ed0                  mov ss, eax
  0028  bc00800000            mov esp, 0x8000
  002d  b070                  mov al, 'p'
  002f  ee                    out dx, al
  # Page tables: PML4, PDPT, a directory of 2 MiB pages, and a table of 4 KiB pages for 2 to 4 MiB.
  0030  fc                    cld
  0031  bf00000100            mov edi, 0x10000
  0036  b900100000            mov ecx, 0x1000
  003b  31c0                  xor eax, eax
  003d  f3ab                  rep stosd
  003f  c7050000010003100100  mov dword ptr [0x10000], 0x11003
  0049  c7050010010003200100  mov dword ptr [0x11000], 0x12003
  0053  bf00200100            mov edi, 0x12000
  0058  b883000000            mov eax, 0x83
  large_page:
  005d  8907                  mov [edi], eax
  005f  0500002000            add eax, 0x200000
  0064  83c708                add edi, 8
  0067  81ff40200100          cmp edi, 0x12040
  006d  75ee                  jne large_page
  006f  c7050820010003300100  mov dword ptr [0x12008], 0x13003
  0079  bf00300100            mov edi, 0x13000
  007e  b803002000            mov eax, 0x200003
  small_page:
  0083  8907                  mov [edi], eax
  0085  0500100000            add eax, 0x1000
  008a  83c708                add edi, 8
  008d  81ff00400100          cmp edi, 0x14000
  0093  75ee                  jne small_page
  # Long mode: PAE and SSE on, EFER.LME, paging and write protection on.
  0095  b800000100            mov eax, 0x10000
  009a  0f22d8                mov cr3, eax
  009d  0f20e0                mov eax, cr4
  00a0  0d20060000            or eax, 0x620
  00a5  0f22e0                mov cr4, eax
  00a8  b9800000c0            mov ecx, 0xc0000080
  00ad  0f32                  rdmsr
  00af  0d00010000            or eax, 0x100
  00b4  0f30                  wrmsr
  00b6  0f20c0                mov eax, cr0
  00b9  83e0fb                and eax, 0xfffffffb
  00bc  0d02000180            or eax, 0x80010002
  00c1  0f22c0                mov cr0, eax
  00c4  eacb000f001800        ljmp 0x18:long_mode
  # 64-bit code
  long_mode:
  00cb  66baf803              mov dx, 0x3f8
  00cf  b06c                  mov al, 'l'
  00d1  ee                    out dx, al
  # cmpxchg16b, if CPUID reports it: replaces {1, 2} with {3, 4}.
  00d2  b801000000            mov eax, 1
  00d7  0fa2                  cpuid
  00d9  89cd                  mov ebp, ecx
  00db  f7c500200000          test ebp, 0x2000
  00e1  7448                  jz compared
  00e3  bf00002000            mov edi, 0x200000
  00e8  48c70701000000        mov qword ptr [rdi], 1
  00ef  48c7470802000000      mov qword ptr [rdi+8], 2
  00f7  b801000000            mov eax, 1
  00fc  ba02000000            mov edx, 2
  0101  bb03000000            mov ebx, 3
  0106  b904000000            mov ecx, 4
  010b  f0480fc70f            lock cmpxchg16b [rdi]
  0110  0f853f010000          jnz crash
  0116  48833f03              cmp qword ptr [rdi], 3
  011a  0f8535010000          jne crash
  0120  48837f0804            cmp qword ptr [rdi+8], 4
  0125  0f852a010000          jne crash
  compared:
  012b  66baf803              mov dx, 0x3f8
  012f  b063                  mov al, 'c'
  0131  ee                    out dx, al
  # xsave and xrstor of the x87, SSE and AVX state, if CPUID reports them: clears and restores XMM1.
  0132  f7c500000004          test ebp, 0x4000000
  0138  744f                  jz saved
  013a  0f20e0                mov rax, cr4
  013d  0d00000400            or eax, 0x40000
  0142  0f22e0                mov cr4, rax
  0145  b80d000000            mov eax, 0xd
  014a  31c9                  xor ecx, ecx
  014c  0fa2                  cpuid
  014e  83e007                and eax, 7
  0151  89c6                  mov esi, eax
  0153  31c9                  xor ecx, ecx
  0155  31d2                  xor edx, edx
  0157  0f01d1                xsetbv
  015a  bf00202000            mov edi, 0x202000
  015f  48bb8877665544332211  movabs rbx, 0x1122334455667788
  0169  66480f6ecb            movq xmm1, rbx
  016e  480fae27              xsave64 [rdi]
  0172  0f57c9                xorps xmm1, xmm1
  0175  89f0                  mov eax, esi
  0177  480fae2f              xrstor64 [rdi]
  017b  66480f7ec8            movq rax, xmm1
  0180  4839d8                cmp rax, rbx
  0183  0f85cc000000          jne crash
  saved:
  0189  66baf803              mov dx, 0x3f8
  018d  b078                  mov al, 'x'
  018f  ee                    out dx, al
  # An exception: ud2 is handled by entry 6 of an IDT at 0x14000, which returns with iretq.
  0190  bf60400100            mov edi, 0x14060
  0195  b88a020f00            mov eax, offset on_invalid_opcode
  019a  668907                mov word ptr [rdi], ax
  019d  c1e810                shr eax, 16
  01a0  66894706              mov word ptr [rdi+6], ax
  01a4  c7470800000000        mov dword ptr [rdi+8], 0
  01ab  66c747021800          mov word ptr [rdi+2], 0x18
  01b1  66c74704008e          mov word ptr [rdi+4], 0x8e00
  01b7  0f011c25b9020f00      lidt [idt_pointer]
  01bf  31db                  xor ebx, ebx
  01c1  0f0b                  ud2
  01c3  83fb01                cmp ebx, 1
  01c6  0f8589000000          jne crash
  01cc  66baf803              mov dx, 0x3f8
  01d0  b065                  mov al, 'e'
  01d2  ee                    out dx, al
  # Memory access through 64 of the 4 KiB pages. Flushes each mapping, then all with a write to CR3.
  01d3  bf00002200            mov edi, 0x220000
  01d8  b940000000            mov ecx, 0x40
  next_page:
  01dd  48893f                mov [rdi], rdi
  01e0  0f013f                invlpg [rdi]
  01e3  48393f                cmp [rdi], rdi
  01e6  756d                  jne crash
  01e8  4881c700100000        add rdi, 0x1000
  01ef  ffc9                  dec ecx
  01f1  75ea                  jnz next_page
  01f3  0f20d8                mov rax, cr3
  01f6  0f22d8                mov cr3, rax
  01f9  b06d                  mov al, 'm'
  01fb  ee                    out dx, al
  # Calibration: TSC ticks while channel 2 of the PIT counts 11932, which takes 10 ms.
  01fc  e461                  in al, 0x61
  01fe  24fc                  and al, 0xfc
  0200  0c01                  or al, 1
  0202  e661                  out 0x61, al
  0204  b0b0                  mov al, 0xb0
  0206  e643                  out 0x43, al
  0208  b09c                  mov al, 0x9c
  020a  e642                  out 0x42, al
  020c  b02e                  mov al, 0x2e
  020e  e642                  out 0x42, al
  0210  0f31                  rdtsc
  0212  4189c0                mov r8d, eax
  counting:
  0215  e461                  in al, 0x61
  0217  a820                  test al, 0x20
  0219  74fa                  jz counting
  021b  0f31                  rdtsc
  021d  4429c0                sub eax, r8d
  0220  e848000000            call print
  # The loop, five times.
  0225  41bc05000000          mov r12d, 5
  next_run:
  022b  0f31                  rdtsc
  022d  4189c0                mov r8d, eax
  0230  bf00402000            mov edi, 0x204000
  0235  b9400d0300            mov ecx, 200000
  next_round:
  023a  e81f000000            call work
  023f  ffc9                  dec ecx
  0241  75f7                  jnz next_round
  0243  0f31                  rdtsc
  0245  4429c0                sub eax, r8d
  0248  e820000000            call print
  024d  41ffcc                dec r12d
  0250  75d9                  jnz next_run
  0252  b07a                  mov al, 'z'
  0254  ee                    out dx, al
  # The end, after success or failure: an interrupt without an IDT is a triple fault, on which QEMU exits (-no-reboot).
  crash:
  0255  0f011c25c3020f00      lidt [no_idt_pointer]
  025d  cc                    int3
  work:
  025e  50                    push rax
  025f  488907                mov [rdi], rax
  0262  48034708              add rax, [rdi+8]
  0266  4811c3                adc rbx, rax
  0269  31d8                  xor eax, ebx
  026b  5a                    pop rdx
  026c  c3                    ret
  # A space and the eight hexadecimal digits of EAX, written as A to P.
  print:
  026d  89c3                  mov ebx, eax
  026f  66baf803              mov dx, 0x3f8
  0273  b020                  mov al, ' '
  0275  ee                    out dx, al
  0276  b908000000            mov ecx, 8
  next_digit:
  027b  c1c304                rol ebx, 4
  027e  89d8                  mov eax, ebx
  0280  240f                  and al, 15
  0282  0441                  add al, 'A'
  0284  ee                    out dx, al
  0285  ffc9                  dec ecx
  0287  75f2                  jnz next_digit
  0289  c3                    ret
  on_invalid_opcode:
  028a  4883042402            add qword ptr [rsp], 2
  028f  ffc3                  inc ebx
  0291  48cf                  iretq
  # GDT: null, 32-bit code, data, 64-bit code.
  gdt:
  0293  0000000000000000      .quad 0
  029b  ffff0000009bcf00      .quad 0x00cf9b000000ffff
  02a3  ffff00000093cf00      .quad 0x00cf93000000ffff
  02ab  ffff0000009baf00      .quad 0x00af9b000000ffff
  gdt_pointer:
  02b3  1f00                  .short 31
  02b5  93020f00              .long gdt
  idt_pointer:
  02b9  6f00                  .short 0x6f
  02bb  0040010000000000      .quad 0x14000
  no_idt_pointer:
  02c3  0000                  .short 0
  02c5  0000000000000000      .quad 0
  # 16-bit code
  # Reset vector.
  reset:
  fff0  e90d00                jmp real_mode
`

/** Size of the ROM. QEMU requires a multiple of 64 KiB for `-bios`. */
const ROM_BYTES = 0x10000

export function buildProbeRom(): Uint8Array {
  const rom = new Uint8Array(ROM_BYTES)
  for (const line of LISTING.split('\n')) {
    const match = /^ {2}([0-9a-f]{4}) {2}([0-9a-f]+) /.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined) {
      rom.set(Buffer.from(match[2], 'hex'), Number.parseInt(match[1], 16))
    }
  }
  return rom
}
