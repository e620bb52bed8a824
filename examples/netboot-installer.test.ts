import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'

/** With less memory the installer starts in a low-memory mode, which asks other questions. */
const memory = '1G'
const MINUTES = 60_000

test("keys operate the dialogs of Debian's installer on the serial console", {
  timeout: 12 * MINUTES,
}, async () => {
  // #region dialogs
  await using vm = await launchVM({ netboot: netboot.debianInstaller(), memory })
  const { serial } = vm
  const limit = { timeout: '4m' } as const

  // Edit the menu entry so that the kernel writes to the serial console.
  await expect(serial).toShow('TAB to edit a menu entry')
  await serial.press('Tab')
  await expect(serial).toShow(/-- quiet/)
  await serial.type(' console=ttyS0', { delay: '60ms' })
  await serial.press('Enter')
  await expect(serial).toShow('<SPACE> to continue', limit) // the video mode of the entry needs a display
  await serial.press('Space')

  await expect(serial).toShow('Choose the language', limit)
  await serial.press('Enter')
  await expect(serial).toShow('The selected location', limit)
  await serial.press('Enter')
  await expect(serial).toShow('Keymap to use', limit)
  await serial.press('Enter')
  await expect(serial).toShow('Name server addresses', limit) // the closed network has no name server
  await serial.press('Enter')
  await expect(serial).toShow('Please enter the hostname for this system', limit)
  await serial.press('Ctrl-U')
  await serial.type('demo\n')
  await expect(serial).toShow('The domain name is the part of your Internet address', limit)
  await serial.type('example.test\n')
  await expect(serial).toShow('Choose a mirror of the Debian archive', limit)
  // #endregion
  await expect(vm).toHaveFetchedInOrder([
    'pxelinux.0',
    'debian-installer/amd64/linux',
    'debian-installer/amd64/initrd.gz',
  ])
})

test('a preseeded Debian installer reaches the choice of a mirror without keys', {
  timeout: 12 * MINUTES,
}, async () => {
  // #region preseed
  await using vm = await launchVM({
    memory,
    netboot: netboot.debianInstaller({
      via: 'http',
      append: 'console=ttyS0 hostname=demo domain=example.test netcfg/get_nameservers=10.0.2.3',
      preseed: [
        'd-i debian-installer/locale string en_US.UTF-8',
        'd-i keyboard-configuration/xkb-keymap select us',
      ].join('\n'),
    }),
  })
  await expect(vm.serial).toShow('Choose a mirror of the Debian archive', { timeout: '10m' })
  await expect(vm).toHaveFetchedInOrder(['debian-installer/amd64/initrd.gz', 'preseed.cfg'])
  // #endregion
})
