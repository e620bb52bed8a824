import { beforeAll, expect, test } from 'vitest'
import { launchVM, netboot } from 'withvm'
import 'withvm/vitest'
import { installArchitecturePackages } from '../../support/guest-packages.js'

beforeAll(installArchitecturePackages, 600_000)

const LONG_MS = 900_000

test(
  "UEFI firmware for ARM boots Debian's installer from the network up to its first dialog",
  async () => {
    await using vm = await launchVM({
      arch: 'arm64',
      memory: '1G',
      netboot: netboot.debianInstaller({ arch: 'arm64', append: 'console=ttyAMA0' }),
      log: () => {},
    })
    await expect(vm.serial).toShow(/Choose the language|Select a language/, { timeout: '10m' })
    await expect(vm).toHaveFetchedInOrder([
      'debian-installer/arm64/bootnetaa64.efi',
      'debian-installer/arm64/linux',
      'debian-installer/arm64/initrd.gz',
    ])
  },
  LONG_MS,
)

test('UEFI firmware for ARM fetches a boot loader with its own HTTP boot', async () => {
  await using vm = await launchVM({
    arch: 'arm64',
    netboot: { trees: ['debian-netboot'], httpBoot: 'debian-installer/arm64/bootnetaa64.efi' },
    ready: /Welcome to GRUB/,
    log: () => {},
  })
  await expect(vm).toHaveFetched('debian-installer/arm64/bootnetaa64.efi', { protocol: 'http' })
})
