import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'

/** An installer asks for what it can do without on a machine with little memory. */
const memory = '1G'
const MINUTES = 60_000

test("Debian's installer is gone through by its dialogs", { timeout: 12 * MINUTES }, async () => {
  // #region dialogs
  await using vm = await launchVM({ netboot: netboot.debianInstaller(), memory })
  const { serial } = vm
  const limit = { timeout: '4m' } as const

  // The menu of the package, whose entry is changed by keys: let the kernel write to the console.
  await expect(serial).toShow('TAB to edit a menu entry')
  await serial.press('Tab')
  await expect(serial).toShow(/-- quiet/)
  await serial.type(' console=ttyS0', { delay: '60ms' })
  await serial.press('Enter')
  await expect(serial).toShow('<SPACE> to continue', limit) // the kernel misses the display
  await serial.press('Space')

  await expect(serial).toShow('Choose the language', limit)
  await serial.press('Enter')
  await expect(serial).toShow('The selected location', limit)
  await serial.press('Enter')
  await expect(serial).toShow('Keymap to use', limit)
  await serial.press('Enter')
  await expect(serial).toShow('Name server addresses', limit) // QEMU's closed network has none
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

test('a preseeded installer comes as far without a key', { timeout: 12 * MINUTES }, async () => {
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
