import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VMOptions } from 'withvm'
import { installArchitecturePackages } from '../../support/guest-packages.js'

beforeAll(installArchitecturePackages, 600_000)

/** Each image is built on first use from about 60 MB of packages. */
const LONG_MS = 600_000

const launch = (arch: NonNullable<VMOptions['arch']>, options: VMOptions = {}) =>
  launchVM({ arch, log: () => {}, ...options })

test.each([
  ['i386', 'i686'],
  ['aarch64', 'aarch64'],
  ['armhf', 'armv7l'],
  ['ppc64el', 'ppc64le'],
  ['s390x', 's390x'],
  ['riscv64', 'riscv64'],
] as const)(
  'tiny for %s is reachable over SSH, through its agent and on its console',
  async (arch, machine) => {
    await using vm = await launch(arch)
    expect((await vm.ssh`uname -m`).stdout).toBe(machine)
    expect((await vm.exec('uname -m')).stdout).toBe(machine)
    vm.serial.write('echo "this is $(uname -m)"\n')
    await vm.serial.waitFor(`this is ${machine}`)
    // The disk survives a reboot.
    await vm.ssh`echo here >/root/note && sync`
    await vm.reboot()
    expect((await vm.ssh`cat /root/note`).stdout).toBe('here')
    await vm.shutdown()
    expect((await vm.wait()).reason).toBe('guest-shutdown')
  },
  LONG_MS,
)

test(
  'an ARM guest has a second processor, a second disk and a second network card',
  async () => {
    await using vm = await launch('arm64', {
      cpus: 2,
      memory: '384M',
      disks: [{ size: '64M', serial: 'second' }],
      network: [{}, {}],
      rng: true,
    })
    const { stdout } = await vm.ssh`nproc; ls /sys/class/net; cat /sys/block/vdb/serial`
    expect(stdout).toBe('2\neth0\neth1\nlo\nsecond')
  },
  LONG_MS,
)

test(
  'UEFI firmware for ARM starts the kernel of tiny, and the guest can read UEFI variables',
  async () => {
    await using vm = await launch('aarch64', { firmware: 'uefi' })
    await vm.serial.waitFor(/UEFI firmware/)
    const { stdout } =
      await vm.ssh`uname -m; modprobe efivarfs; mount -t efivarfs none /mnt; ls /mnt | grep -c BootOrder`
    expect(stdout).toBe('aarch64\n1')
  },
  LONG_MS,
)
