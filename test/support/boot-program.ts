/** Load address of boot sectors and of the first file that PXE fetches. */
const ORIGIN = 0x7c00

/** Instructions that halt, each with its bytes. */
const HALT = [
  [0xf4], // hlt
  [0xeb, 0xfd], // jmp hlt
]

/**
 * Makes a minimal bootable program: 16-bit code that prints text through the BIOS, then halts or runs further
 * instructions. PXE starts it as a file, a BIOS as the first sector of a disk.
 */
export function makeBootProgram(text: string, end: readonly (readonly number[])[] = HALT): Buffer {
  const code = [
    [0x31, 0xc0], // xor ax, ax
    [0x8e, 0xd8], // mov ds, ax
    [0xbe, 0x00, 0x00], // mov si, text
    [0xac], // lodsb
    [0x84, 0xc0], // test al, al
    [0x74, 0x06], // jz end
    [0xb4, 0x0e], // mov ah, 0x0e: print a character
    [0xcd, 0x10], // int 0x10
    [0xeb, 0xf5], // jmp lodsb
    ...end,
  ].flat()
  const sector = Buffer.alloc(512)
  Buffer.from(code).copy(sector)
  sector.writeUInt16LE(ORIGIN + code.length, 5)
  sector.write(`\r\n${text}\r\n`, code.length, 'latin1')
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}
