import { writeFile } from 'node:fs/promises'
import { makeBootProgram } from './boot-program.js'

/** Instructions that show each pressed key. */
const ECHO_KEYS = [
  [0x30, 0xe4], // keys: xor ah, ah: wait for a key
  [0xcd, 0x16], // int 0x16
  [0xb4, 0x0e], // mov ah, 0x0e: show a character
  [0xcd, 0x10], // int 0x10
  [0xeb, 0xf6], // jmp keys
]

/**
 * Writes a disk whose boot sector shows text on the display, then each pressed key. It uses the BIOS, which also prints
 * to the first serial port if there is no display card.
 */
export async function writeDisplayDisk(path: string, text: string): Promise<string> {
  const disk = Buffer.alloc(1024 ** 2)
  makeBootProgram(text, ECHO_KEYS).copy(disk)
  await writeFile(path, disk)
  return path
}
