import { readFileSync, writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../src/image/resolve-image.js'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

/** Writes the XML of a domain, and the files that it names, to a folder; returns the path of the XML. */
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

test('a guest starts from the XML of a libvirt domain, with options that override it', async () => {
  const domain = await writeDomain(ownTmpdir())
  // #region domain
  await using vm = await launchVM({
    libvirtXML: domain, // the output of `virsh dumpxml web > domain.xml`
    memory: '512M', // options override the XML
    disks: [{ size: '1G', serial: 'SCRATCH' }],
  })
  expect((await vm.ssh`cat /sys/block/vdb/serial`).stdout).toBe('SCRATCH')
  // Settings without an option: [{ what: '<emulator>…', path: 'devices/emulator', reason: '…' }, …]
  expect(vm.importReport.skippedSettings.length).toBeGreaterThan(0)
  // #endregion
  expect(vm.importReport.skippedSettings.map(({ path }) => path)).toContain('devices/emulator')
})
