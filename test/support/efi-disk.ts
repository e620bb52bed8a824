import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'

/** Builds a UEFI program that prints a line on the first serial port and halts (PE/COFF, revision 11; UEFI 2.10, 2.1.1). */
function buildEfiProgram(line: string): Buffer {
  // cld; lea rsi,[rip+text]; next: lodsb; test al,al; jz end; mov dx,0x3f8; out dx,al; jmp next; cli; end: hlt; jmp end
  const code = Buffer.from('fc488d3510000000ac84c0740766baf803eeebf4faf4ebfd', 'hex')
  const file = Buffer.alloc(0x400)
  file.write('MZ', 'latin1')
  file.writeUInt32LE(0x40, 0x3c)
  file.write('PE\0\0', 0x40, 'latin1')
  const coff = 0x44
  file.writeUInt16LE(0x8664, coff)
  file.writeUInt16LE(1, coff + 2) // one section
  file.writeUInt16LE(0xf0, coff + 16) // size of the optional header
  file.writeUInt16LE(0x22, coff + 18) // an executable with wide addresses
  const optional = coff + 20
  file.writeUInt16LE(0x20b, optional)
  file.writeUInt32LE(0x200, optional + 4) // size of code
  file.writeUInt32LE(0x1000, optional + 16) // entry
  file.writeUInt32LE(0x1000, optional + 20) // base of code
  file.writeUInt32LE(0x1000, optional + 32) // alignment in memory
  file.writeUInt32LE(0x200, optional + 36) // alignment in the file
  file.writeUInt32LE(0x2000, optional + 56) // size in memory
  file.writeUInt32LE(0x200, optional + 60) // size of headers
  file.writeUInt16LE(10, optional + 68) // an EFI application
  file.writeUInt32LE(16, optional + 108) // count of directories
  const section = optional + 0xf0
  file.write('.text', section, 'latin1')
  file.writeUInt32LE(0x200, section + 8)
  file.writeUInt32LE(0x1000, section + 12)
  file.writeUInt32LE(0x200, section + 16)
  file.writeUInt32LE(0x200, section + 20)
  file.writeUInt32LE(0x60000020, section + 36)
  Buffer.concat([code, Buffer.from(`${line}\r\n\0`)]).copy(file, 0x200)
  return file
}

/** Writes a raw disk with a FAT partition. UEFI firmware starts a program from it that prints a line. */
export async function writeEfiDisk(path: string, line: string): Promise<string> {
  const folder = `${path}.files`
  await mkdir(join(folder, 'EFI/BOOT'), { recursive: true })
  await writeFile(join(folder, 'EFI/BOOT/BOOTX64.EFI'), buildEfiProgram(line))
  await execa('qemu-img', ['convert', '-O', 'raw', `fat:${folder}`, path])
  await rm(folder, { recursive: true })
  return path
}
