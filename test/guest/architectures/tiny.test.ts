import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'
import { installArchitecturePackages } from '../../support/guest-packages.js'

beforeAll(installArchitecturePackages, 600_000)

/** Each image is built on first use from about 60 MB of packages. */
const LONG_MS = 600_000

const launch = (arch: NonNullable<VMOptions['arch']>, options: VMOptions = {}) =>
  launchVM({ arch, log: () => {}, ...options })

const ARCHITECTURES = [
  ['i386', 'i686'],
  ['aarch64', 'aarch64'],
  ['armhf', 'armv7l'],
  ['ppc64el', 'ppc64le'],
  ['s390x', 's390x'],
  ['riscv64', 'riscv64'],
] as const

test.each(ARCHITECTURES)(
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

/** Returns values that must differ between clones. */
async function identify(vm: VM): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await vm.ssh`hostname
    cat /run/machine-id /sys/class/net/eth0/address /root/.ssh/authorized_keys
    head -c 16 /dev/urandom | xxd -p
    md5sum </run/withvm/host-key`
  const [name, machineId, mac, key, random, hostKey] = stdout.split('\n').filter((line) => line !== '') as [
    string,
    ...string[],
  ]
  return { name, machineId, mac, key, random, hostKey } as Record<string, string>
}

test.each(ARCHITECTURES.filter(([arch]) => arch !== 'ppc64el'))(
  'two clones of tiny for %s have different identities and the right time',
  async (arch) => {
    await using one = await launch(arch, { name: 'one' })
    await using two = await launch(arch, { name: 'two' })
    expect([one, two].map(({ startedFrom }) => startedFrom.kind)).toEqual(['template', 'template'])
    const [ofOne, ofTwo] = [await identify(one), await identify(two)]
    for (const [fact, value] of Object.entries(ofOne)) {
      expect(value, fact).toMatch(/./)
      expect(value, fact).not.toBe(ofTwo[fact])
    }
    expect([ofOne.name, ofTwo.name]).toEqual(['one', 'two'])
    // Timers of the kernel work too.
    const { stdout } = await two.ssh('sleep 1; date +%s', { timeout: '1m' })
    expect(Math.abs(Number(stdout) * 1000 - Date.now())).toBeLessThan(30_000)
  },
  LONG_MS,
)

test(
  'a POWER guest boots cold and has no checkpoints, because QEMU does not restore its time base',
  async () => {
    await using vm = await launch('ppc64')
    expect(vm.startedFrom).toEqual({
      kind: 'cold',
      reason: 'QEMU does not restore the time base of POWER processors, so timers of a clone would stop',
    })
    await expect(vm.checkpoint('one')).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' })
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
