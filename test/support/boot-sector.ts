import { writeFile } from 'node:fs/promises'

const SECTOR = 512
/** Load address of boot sectors. */
const ORIGIN = 0x7c00

/** Builds the first sector of a disk that a BIOS boots: it prints a line on the first serial port and halts. */
export function buildBootSector(line: string): Buffer {
  // cld; cli; xor ax,ax; mov ds,ax; mov si,text; next: lodsb; test al,al; jz end; mov dx,0x3f8; out dx,al; jmp next; end: hlt; jmp end
  const code = Buffer.from('fcfa31c08ed8be0000ac84c07406baf803eeebf5f4ebfd', 'hex')
  code.writeUInt16LE(ORIGIN + code.length, 7)
  const sector = Buffer.alloc(SECTOR)
  Buffer.concat([code, Buffer.from(`${line}\r\n\0`)]).copy(sector)
  sector.writeUInt16LE(0xaa55, SECTOR - 2)
  return sector
}

/** Writes a raw disk, by default a floppy disk of 1440 KiB, that prints a line when it is booted. */
export async function writeBootDisk(path: string, line: string, bytes = 1440 * 1024): Promise<string> {
  const disk = Buffer.alloc(bytes)
  buildBootSector(line).copy(disk)
  await writeFile(path, disk)
  return path
}

/** Writes a CD that prints a line when it is booted: El Torito without emulation and without a file system. */
export async function writeBootCd(path: string, line: string): Promise<string> {
  const block = 2048
  const cd = Buffer.alloc(64 * block)
  const descriptor = (at: number, type: number) => {
    cd.writeUInt8(type, at * block)
    cd.write('CD001\x01', at * block + 1, 'latin1')
  }
  descriptor(16, 1)
  descriptor(17, 0)
  cd.write('EL TORITO SPECIFICATION', 17 * block + 7, 'latin1')
  cd.writeUInt32LE(19, 17 * block + 71)
  descriptor(18, 255)
  const catalog = 19 * block
  cd.writeUInt8(1, catalog)
  cd.writeUInt16LE(0xaa55, catalog + 30)
  cd.writeUInt16LE(0x55aa, catalog + 28) // the sum of the words of the entry is 0
  const entry = catalog + 32
  cd.writeUInt8(0x88, entry)
  cd.writeUInt16LE(4, entry + 6)
  cd.writeUInt32LE(20, entry + 8)
  buildBootSector(line).copy(cd, 20 * block)
  await writeFile(path, cd)
  return path
}
