import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

test('a guest boots an iPXE script from the network', async () => {
  // #region netboot
  await using vm = await launchVM({
    network: { mac: '52:54:00:aa:bb:cc' },
    netboot: {
      bootfile: 'boot.ipxe',
      files: {
        'boot.ipxe': ({ mac }) => `#!ipxe\necho I am ${mac}\nimgfetch motd || imgfetch issue\nsleep 60\n`,
        issue: 'hello from the network\n',
      },
    },
  })
  await expect(vm.serial).toSee('I am 52:54:00:aa:bb:cc')
  await expect(vm).toHaveGotLease({ address: '10.0.2.15', firmware: 'bios' })
  await expect(vm).toHaveFetchedInOrder(['boot.ipxe', 'issue'])
  await expect(vm).not.toHaveFetched('motd')
  // #endregion
  // #region requests
  const asked = vm.netboot.requests.map(({ protocol, path, status }) => `${protocol} ${path}: ${status}`)
  expect(asked).toEqual(['tftp boot.ipxe: complete', 'tftp motd: not found', 'tftp issue: complete'])
  // #endregion
})

test('the `netboot` builders return the files and the boot file of each boot loader', () => {
  const folder = ownTmpdir()
  for (const name of ['vmlinuz', 'initrd.img', 'rescue.img']) writeFileSync(join(folder, name), '')
  const [kernel, initrd, rescue] = ['vmlinuz', 'initrd.img', 'rescue.img'].map((name) =>
    join(folder, name),
  ) as [string, string, string]
  // #region builders
  const pxelinux = netboot.pxelinux({
    menu: 'Choose a system',
    entries: [
      { label: 'system', kernel, initrd, append: 'console=ttyS0' },
      { label: 'rescue', kernel, initrd: rescue, append: 'console=ttyS0 single' },
    ],
    byMac: { '52:54:00:aa:bb:cc': 'default local\nlabel local\n  localboot 0\n' },
  })
  const fast = netboot.kernel({ kernel, initrd, append: 'console=ttyS0', via: 'http' })
  const grub = netboot.grub({ kernel, initrd, append: 'console=ttyS0', firmware: 'uefi' })
  const script = netboot.ipxe('#!ipxe\nkernel vmlinuz console=ttyS0\nboot\n')
  const both = { ...script, root: folder, once: true } // add other options of `netboot`
  // #endregion
  expect(Object.keys(pxelinux.files ?? {})).toEqual([
    'system/linux',
    'system/initrd',
    'rescue/linux',
    'rescue/initrd',
    'pxelinux.cfg/default',
    'pxelinux.cfg/01-52-54-00-aa-bb-cc',
  ])
  expect([fast.bootfile, grub.bootfile, both.bootfile]).toEqual([
    'boot.ipxe',
    'grub/x86_64-efi/core.efi',
    'boot.ipxe',
  ])
})
