import { writeFile } from 'node:fs/promises'

/** Load address of boot sectors. */
const ORIGIN = 0x7c00

/**
 * Writes a disk whose boot sector shows text on the display, then each pressed key. It uses the BIOS, which also prints
 * to the first serial port if there is no display card.
 */
export async function writeDisplayDisk(path: string, text: string): Promise<string> {
  const code = [
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xbe, 0x00, 0x00, // mov si, text
    0xac, // next: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x06, // jz keys
    0xb4, 0x0e, // mov ah, 0x0e: show a character
    0xcd, 0x10, // int 0x10
    0xeb, 0xf5, // jmp next
    0x30, 0xe4, // keys: xor ah, ah: wait for a key
    0xcd, 0x16, // int 0x16
    0xb4, 0x0e, // mov ah, 0x0e
    0xcd, 0x10, // int 0x10
    0xeb, 0xf6, // jmp keys
  ] // biome-ignore format: one instruction a line
  const disk = Buffer.alloc(1024 ** 2)
  Buffer.from(code).copy(disk)
  disk.writeUInt16LE(ORIGIN + code.length, 5)
  disk.write(`\r\n${text}\r\n`, code.length, 'latin1')
  disk.writeUInt16LE(0xaa55, 510)
  await writeFile(path, disk)
  return path
}
