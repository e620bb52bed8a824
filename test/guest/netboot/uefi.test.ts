import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'

test('GRUB boots under UEFI', async () => {
  await using vm = await launchVM({
    netboot: netboot.grub({ config: 'echo this is GRUB on $grub_platform\nsleep 60', firmware: 'uefi' }),
    firmware: 'uefi',
  })
  await expect(vm.serial).toShow('this is GRUB on efi', { timeout: '180s' })
  await expect(vm).toHaveGotLease({ firmware: 'uefi-x64' })
  await expect(vm).toHaveFetchedInOrder(['grub/x86_64-efi/core.efi', 'grub/grub.cfg'])
})

test('iPXE from the boot ROM of an e1000 runs a script under UEFI', async () => {
  await using vm = await launchVM({
    network: { model: 'e1000' },
    netboot: netboot.ipxe('#!ipxe\necho this is iPXE, over HTTP.\nsleep 60', { via: 'http' }),
    firmware: 'uefi',
  })
  await expect(vm.serial).toSee('this is iPXE, over HTTP', { timeout: '180s' })
  await expect(vm).toHaveGotLease({ firmware: 'uefi-x64', userClass: 'iPXE' })
})

test('with `once`, UEFI firmware fetches a boot loader with its own HTTP boot only once', async () => {
  await using vm = await launchVM({
    netboot: { trees: ['grub'], httpBoot: 'grub/x86_64-efi/core.efi', once: true },
    firmware: 'uefi',
  })
  await expect(vm.serial).toSeeInOrder([/Start HTTP Boot/, 'grub> '], { timeout: '180s' })
  await expect(vm).toHaveFetched('grub/x86_64-efi/core.efi', { protocol: 'http' })
  const requests = vm.netboot.requests.length
  // Later boots use the firmware's own boot order.
  vm.serial.write('reboot\r')
  await expect(vm.serial).toSee('Start PXE', { timeout: '180s' })
  expect(vm.netboot.requests).toHaveLength(requests)
})
