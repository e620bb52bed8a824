import { copyFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { installArchitecturePackages } from '../../support/guest-packages.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

beforeAll(installArchitecturePackages, 600_000)

const bare = { image: false, ssh: false, ready: 'none', log: () => {} } as const
const limit = { timeout: '60s' } as const

test.each([
  ['sparc', /OpenBIOS[\s\S]*\n0 > /],
  ['sparc64', /OpenBIOS for Sparc64[\s\S]*\n0 > /],
  ['ppc', /OpenBIOS[\s\S]*CPU type PowerPC,G4[\s\S]*\n0 > /],
  ['ppc64', /SLOF[\s\S]*Ready!/],
] as const)(
  'the firmware of a %s machine shows its prompt and executes input from the console',
  async (arch, prompt) => {
    await using vm = await launchVM({ ...bare, arch })
    await vm.serial.waitFor(prompt, limit)
    // The input is Forth.
    vm.serial.write('6 7 * .\r')
    await vm.serial.waitFor(/\. *(42|2a) /, limit)
  },
)

test('a RISC-V machine runs OpenSBI, then a boot loader', async () => {
  await using vm = await launchVM({
    ...bare,
    arch: 'riscv64',
    kernel: '/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf',
  })
  await vm.serial.waitFor(/OpenSBI v/, limit)
  await vm.serial.waitFor(/Hit any key to stop autoboot/, limit)
  vm.serial.write('\r')
  await vm.serial.waitFor('=> ', limit)
  vm.serial.write('printenv arch\r')
  await vm.serial.waitFor('arch=riscv', limit)
})

const U_BOOTS = [
  ['aarch64', '/usr/lib/u-boot/qemu_arm64/u-boot.bin'],
  ['arm', '/usr/lib/u-boot/qemu_arm/u-boot.bin'],
] as const

async function expectUBoot(vm: VM): Promise<void> {
  await vm.serial.waitFor(/U-Boot \d{4}/, limit)
  await vm.serial.waitFor(/Hit any key to stop autoboot/, limit)
  vm.serial.write('\r')
  await vm.serial.waitFor('=> ', limit)
  vm.serial.write('printenv arch\r')
  await vm.serial.waitFor('arch=arm', limit)
}

test.each(U_BOOTS)('an %s machine starts U-Boot from a file instead of UEFI', async (arch, file) => {
  await using vm = await launchVM({ ...bare, arch, firmware: { type: 'bios', file } })
  expect(vm.commandLine).not.toContain('pflash')
  await expectUBoot(vm)
})

test.each(U_BOOTS)('a command line of qemu-system-%s with -bios runs U-Boot', async (arch, file) => {
  const commandLine = `qemu-system-${arch} -M virt -m 512 -nographic -bios ${file}`
  await using vm = await launchVM({ commandLine, ssh: false, log: () => {} })
  expect(vm.importReport.replacedArguments).toEqual([])
  await expectUBoot(vm)
})

test.each(U_BOOTS)('an %s machine starts U-Boot from its first flash chip', async (arch, file) => {
  const image = join(ownTmpdir(), 'flash.img')
  copyFileSync(file, image)
  truncateSync(image, 64 * 1024 ** 2) // the size of the board's flash
  await using vm = await launchVM({ ...bare, arch, disks: [{ interface: 'pflash', image }] })
  await expectUBoot(vm)
})

test('an ARM machine without a kernel boots with UEFI firmware', async () => {
  await using vm = await launchVM({ ...bare, arch: 'aarch64' })
  await vm.serial.waitFor(/UEFI firmware/, limit)
  expect(vm.commandLine).toContain('AAVMF')
})
