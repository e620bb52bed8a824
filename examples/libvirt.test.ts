import { readFileSync, writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../src/image/resolve-image.js'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

/** A domain as `virt-install --print-xml` writes it, with what it names in a folder. */
async function writeDomain(folder: string): Promise<string> {
  const { disk, directBoot } = await resolveImage('tiny')
  await copyFile(disk?.path ?? '', join(folder, 'tiny.qcow2'))
  await copyFile(directBoot?.kernel ?? '', join(folder, 'kernel'))
  await copyFile(directBoot?.initrd ?? '', join(folder, 'initrd'))
  const printed = readFileSync(
    new URL('../test/guest/libvirt/domains/kernel-initrd.xml', import.meta.url),
    'utf8',
  )
  const path = join(folder, 'domain.xml')
  writeFileSync(path, printed.replaceAll('/srv/withvm/', `${folder}/`))
  return path
}

test('a domain of libvirt, and disks beside the image', async () => {
  const domain = await writeDomain(ownTmpdir())
  // #region domain
  await using vm = await launchVM({
    libvirtXML: domain, // as `virsh dumpxml web > domain.xml` writes it
    memory: '512M', // what is said beside it counts
    disks: [{ size: '1G', serial: 'SCRATCH' }],
  })
  expect((await vm.ssh`cat /sys/block/vdb/serial`).stdout).toBe('SCRATCH')
  // What it has that no option says, as [{ what: '<emulator>…', path: 'devices/emulator', reason: '…' }, …]
  expect(vm.notCarriedOver.length).toBeGreaterThan(0)
  // #endregion
  expect(vm.notCarriedOver.map(({ path }) => path)).toContain('devices/emulator')
})
