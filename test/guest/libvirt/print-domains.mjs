// Prints the domains of `commands.json` again, with virt-install and libvirtd of this host: `node test/guest/libvirt/print-domains.mjs`.
// virt-install requires existing disks, so this script creates empty ones in FOLDER and removes them.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FOLDER = '/srv/withvm'
const FILES = ['boot.img', 'data.img', 'efi.img', 'floppy.img', 'boot.iso', 'kernel', 'initrd']
const FIXED = ['--uuid', '00000000-0000-4000-8000-000000000000', '--noautoconsole', '--dry-run']

const commands = JSON.parse(readFileSync(join(import.meta.dirname, 'commands.json'), 'utf8'))
mkdirSync(FOLDER, { recursive: true })
for (const file of FILES) writeFileSync(join(FOLDER, file), Buffer.alloc(1024 ** 2))
execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(FOLDER, 'tiny.qcow2'), '1G'])
try {
  for (const [name, line] of Object.entries(commands)) {
    const command = `virt-install ${line}`
    const connect = `${command} --connect qemu:///system --print-xml 1 ${FIXED.join(' ')}`
    const xml = execFileSync('sh', ['-c', connect], { encoding: 'utf8' })
    const comment = `<!-- printed by virt-install for '${name}' of commands.json -->`
    writeFileSync(join(import.meta.dirname, 'domains', `${name}.xml`), `${comment}\n${xml.trim()}\n`)
  }
} finally {
  rmSync(FOLDER, { recursive: true })
}
