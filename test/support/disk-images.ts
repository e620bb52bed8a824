import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

export function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: 'pipe' })
}

export function digestOf(path: string, algorithm = 'sha256'): string {
  return createHash(algorithm).update(readFileSync(path)).digest('hex')
}

/** Makes an image with one mebibyte of incompressible data; the rest is empty. */
export function makeDisk(dir: string, format = 'qcow2', options: readonly string[] = []): string {
  const raw = join(dir, 'data.raw')
  writeFileSync(raw, Buffer.concat([randomBytes(1 << 20), Buffer.alloc(3 << 20)]))
  if (format === 'raw') return raw
  const path = join(dir, `disk.${format}`)
  qemuImg('convert', '-f', 'raw', '-O', format, ...options, raw, path)
  return path
}

const OVF = (disks: readonly string[]) => `<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>
${disks.map((disk, index) => `    <File ovf:href="${disk}" ovf:id="file${index}"/>`).join('\n')}
  </References>
  <DiskSection>
    <Info>Disks</Info>
${disks.map((_, index) => `    <Disk ovf:capacity="4" ovf:diskId="disk${index}" ovf:fileRef="file${index}"/>`).join('\n')}
  </DiskSection>
</Envelope>
`

/** Makes an appliance from disks in one folder, in the form that VirtualBox and VMware export. */
export function makeOva(disks: readonly string[], digest?: string): string {
  const dir = dirname(disks[0] as string)
  const names = disks.map((disk) => basename(disk))
  writeFileSync(join(dir, 'machine.ovf'), OVF(names))
  const hex = digest ?? digestOf(disks[0] as string)
  writeFileSync(join(dir, 'machine.mf'), `SHA256(${names[0]})= ${hex}\n`)
  const path = join(dir, 'machine.ova')
  execFileSync('tar', ['--format=ustar', '-cf', path, '-C', dir, 'machine.ovf', 'machine.mf', ...names])
  return path
}

/** Makes an encrypted copy of a disk: plain LUKS, or LUKS in a qcow2. */
export function encrypt(disk: string, path: string, format: 'qcow2' | 'luks', secret: string): string {
  const keys =
    format === 'luks'
      ? 'key-secret=s,iter-time=10'
      : 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10'
  // QEMU measures the speed of the host with a clock of 10 ms, and fails if less than that passes.
  for (let triesLeft = 50; ; triesLeft--) {
    try {
      qemuImg('convert', '--object', `secret,id=s,data=${secret}`, '-O', format, '-o', keys, disk, path)
      return path
    } catch (error) {
      if (triesLeft === 0 || !String(error).includes('accurate CPU usage')) throw error
    }
  }
}
