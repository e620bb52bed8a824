import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'

test('GRUB boots by UEFI', async () => {
  await using vm = await launchVM({
    netboot: netboot.grub({ config: 'echo this is GRUB on $grub_platform\nsleep 60', firmware: 'uefi' }),
    firmware: 'uefi',
  })
  await expect(vm.serial).toShow('this is GRUB on efi', { timeout: '90s' })
  await expect(vm).toHaveGotLease({ firmware: 'uefi-x64' })
  await expect(vm).toHaveFetchedInOrder(['grub/x86_64-efi/core.efi', 'grub/grub.cfg'])
})

test('iPXE, which is in the boot ROM of an e1000, runs a script by UEFI', async () => {
  await using vm = await launchVM({
    network: { model: 'e1000' },
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is iPXE that fills in the variable
    netboot: netboot.ipxe('#!ipxe\necho by ${platform}, over HTTP.\nsleep 60', { via: 'http' }),
    firmware: 'uefi',
  })
  await expect(vm.serial).toSee('by efi, over HTTP', { timeout: '90s' })
  await expect(vm).toHaveGotLease({ firmware: 'uefi-x64', userClass: 'iPXE' })
})
