import { expect } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'

const test = guestTest({
  name: 'plugged',
  cpus: { count: 1, maxcpus: 2 },
  memory: { size: '256M', max: '512M', slots: 2 },
  balloon: true,
  usb: true,
  standby: false,
})

test('a hot-plugged disk appears in the guest and disappears when it is unplugged', async ({ vm }) => {
  const disk = await vm.plug.disk({ size: '64M', serial: 'extra' })
  expect(vm.plug.list).toEqual([disk.id])
  await vm.waitFor.file('/dev/vdb')
  const { stdout } = await vm.ssh`
    cat /sys/block/vdb/size /sys/block/vdb/serial
    echo kept > /dev/vdb; head -c 4 /dev/vdb`
  expect(stdout).toBe('131072\nextrakept')
  const wrong = await failureOf(disk.unplug({ timeout: 'soon' as '1s' }))
  expect(wrong.code).toBe('INVALID_OPTIONS')
  await disk.unplug()
  await vm.waitFor.command('! test -e /sys/block/vdb')
  expect(vm.plug.list).toEqual([])
  const error = await failureOf(disk.unplug())
  expect(error.message).toBe(
    `The device no longer exists: the disk ${disk.id} was already unplugged.\nFix: Plug in another device.`,
  )
})

test('a hot-plugged SCSI disk has its own controller', async ({ vm }) => {
  await vm.ssh`modprobe -a virtio_scsi sd_mod`
  const disk = await vm.plug.disk({ size: '32M', interface: 'scsi' })
  await vm.waitFor.file('/dev/sda')
  expect((await vm.ssh`cat /sys/block/sda/size`).stdout).toBe('65536')
  await disk.unplug()
})

test('a throttled disk is limited to the specified rate', async ({ vm }) => {
  await using disk = await vm.plug.disk({ size: '64M' })
  await vm.waitFor.file('/dev/vdb')
  await vm.throttle(disk, { iops: 100, bps: '2M' })
  await vm.throttle('system', {})
  const blocks = (await vm.qmp.execute('query-block')) as unknown as Array<{
    qdev: string
    inserted?: { bps: number; iops: number }
  }>
  expect(blocks.find(({ qdev }) => qdev.includes(disk.id))?.inserted).toMatchObject({
    bps: 2 * 1024 ** 2,
    iops: 100,
  })
  // 6 MiB at 2 MiB/s, by the guest's own clock. QEMU allows a burst of a tenth of a second.
  const { stdout } = await vm.ssh`
    read -r begin rest < /proc/uptime
    dd if=/dev/zero of=/dev/vdb bs=64k count=96 conv=fsync 2> /dev/null
    read -r end rest < /proc/uptime
    echo $begin $end`
  const [begin = 0, end = 0] = stdout.split(' ').map(Number)
  expect(end - begin).toBeGreaterThan(1.5)
})

test('a hot-plugged network card has the specified address, and its link can be set', async ({ vm }) => {
  await using card = await vm.plug.card({ mac: '52:54:00:aa:bb:cc' })
  await vm.waitFor.file('/sys/class/net/eth1')
  await vm.ssh`ip link set eth1 up`
  const carrier = () => vm.ssh`cat /sys/class/net/eth1/address /sys/class/net/eth1/carrier`
  expect((await carrier()).stdout).toBe('52:54:00:aa:bb:cc\n1')
  await vm.setLink(false, { card })
  await vm.waitFor.command('grep -q 0 /sys/class/net/eth1/carrier')
  await vm.setLink(true, { card })
  await vm.waitFor.command('grep -q 1 /sys/class/net/eth1/carrier')
})

test('a guest whose link is down is reachable through its agent', async ({ vm }) => {
  await vm.setLink(false)
  expect((await vm.exec('cat /sys/class/net/eth0/carrier')).stdout).toBe('0')
  await vm.setLink(true)
  expect((await vm.ssh`cat /sys/class/net/eth0/carrier`).stdout).toBe('1')
  const error = await failureOf(vm.setLink(false, { card: 3 }))
  expect(error.message).toBe(
    'vm.setLink(): the guest has no such network card.\n  Expected: 0, or a card returned by vm.plug.card()\n  Got:      3\nFix: Count the cards from 0, in the order of the option `network`.',
  )
})

test('a hot-plugged CPU comes online, and can be unplugged under KVM', async ({ vm }) => {
  const cpu = await vm.plug.cpu()
  await vm.waitFor.file('/sys/devices/system/cpu/cpu1/online')
  expect((await vm.ssh`echo 1 > /sys/devices/system/cpu/cpu1/online; nproc`).stdout).toBe('2')
  const full = await failureOf(vm.plug.cpu())
  expect(full.message).toBe(
    'The guest has no free slot for a CPU.\n  Got:      2 of 2 in use\nFix: Start the guest with cpus: { count: 1, maxcpus: 2 }.',
  )
  if (vm.accelerator === 'kvm') {
    await cpu.unplug()
    expect((await vm.ssh`nproc`).stdout).toBe('1')
    return
  }
  const stays = await failureOf(cpu.unplug())
  expect(stays.message).toBe(
    `QEMU cannot unplug the CPU ${cpu.id}.\n  Got:      QEMU hangs when it removes an emulated CPU\nFix: Leave the device plugged in; it is removed when the guest is powered off.`,
  )
})

test('hot-plugged memory is available to the guest and is unplugged unless the guest uses it', async ({
  vm,
}) => {
  const total = async () => Number((await vm.ssh`awk '/MemTotal/ { print $2 }' /proc/meminfo`).stdout)
  const before = await total()
  await vm.ssh`echo online > /sys/devices/system/memory/auto_online_blocks`
  const memory = await vm.plug.memory('128M')
  await expect.poll(total, { timeout: 30_000 }).toBeGreaterThan(before + 100 * 1024)
  const full = await failureOf(vm.plug.memory('256M'))
  expect(full).toMatchObject({ code: 'DEVICE_REFUSED' })
  expect(full.hint).toContain('`memory.max`')
  // The guest does not release memory that it uses.
  const kept = await memory.unplug({ timeout: '3s' }).catch((error: unknown) => error)
  if (kept === undefined) expect(await total()).toBeLessThan(before + 100 * 1024)
  else expect(kept).toMatchObject({ code: 'UNPLUG_FAILED', kind: 'guest' })
})

test('the balloon takes memory from the guest and gives it back', async ({ vm }) => {
  const late = await failureOf(vm.balloon('128M', { timeout: '300ms' }))
  expect(late.message).toContain('The guest did not reach 128 MiB of memory within')
  await vm.ssh`modprobe virtio_balloon`
  const total = async () => Number((await vm.ssh`awk '/MemTotal/ { print $2 }' /proc/meminfo`).stdout)
  const all = await total()
  expect(await vm.balloon('160M')).toBe(160 * 1024 ** 2)
  expect(await total()).toBeLessThan(all - 90 * 1024)
  await expect.poll(async () => (await vm.memory()).guest?.total, { timeout: 30_000 }).toBeGreaterThan(0)
  const use = await vm.memory()
  expect(use.guest?.actual).toBeGreaterThanOrEqual(160 * 1024 ** 2)
  expect(use.pss).toBeLessThanOrEqual(use.rss)
  expect(use.shared + use.private).toBeGreaterThan(use.rss * 0.9)
  expect(use.merged ?? 0).toBeGreaterThanOrEqual(0)
  await vm.balloon('256M')
  const error = await failureOf(vm.balloon('1G'))
  expect(error.message).toContain("at most the guest's memory of 256 MiB")
})

test('a USB device is hot-plugged, and a device without hot-plug support is rejected', async ({ vm }) => {
  const usb = () => vm.qmp.execute('human-monitor-command', { 'command-line': 'info usb' })
  const tablet = await vm.plug.device({ driver: 'usb-tablet' })
  expect(await usb()).toContain('Product QEMU USB Tablet')
  await tablet.unplug()
  expect(await usb()).not.toContain('Tablet')
  const error = await failureOf(vm.plug.device({ driver: 'isa-serial' }))
  expect(error.message).toContain('QEMU rejected the device plug-')
  expect(error.details.got).toMatch(/hotplug/)
  expect(error.hint).toContain('Start the guest with this device')
})

test('a checkpoint includes hot-plugged devices and cannot be restored with other devices', async ({
  vm,
}) => {
  await vm.checkpoint('bare')
  const disk = await vm.plug.disk({ size: '16M' })
  await vm.waitFor.file('/dev/vdb')
  await vm.ssh`echo before > /dev/vdb; sync`
  await vm.checkpoint('with-disk')
  await vm.ssh`echo after > /dev/vdb; sync`
  await vm.restore('with-disk')
  expect((await vm.ssh`head -n 1 /dev/vdb`).stdout).toBe('before')
  const error = await failureOf(vm.restore('bare'))
  expect(error.message).toContain(`added: ${disk.id}`)
  expect(error.hint).toBe('Unplug the added devices (`await disk.unplug()`) before `vm.restore()`.')
  await disk.unplug()
  await vm.restore('bare')
  expect(vm.plug.list).not.toContain(disk.id)
  expect((await vm.ssh`ls /sys/block | grep -c vdb || true`).stdout).toBe('0')
})

test('a PCI Express machine has four hot-plug ports, and a fifth device is rejected', async () => {
  const options = { machine: 'q35', hotplug: true, image: false, ssh: false, ready: 'none' } as const
  await using vm = await launchVM({ ...options, log: () => {} })
  for (const kind of ['virtio', 'scsi'] as const) await vm.plug.disk({ size: '1M', interface: kind })
  await vm.plug.card()
  await vm.plug.card({ model: 'e1000e' })
  expect(vm.plug.list).toHaveLength(4)
  const error = await failureOf(vm.plug.card())
  expect(error.message).toBe(
    "The guest has no free slot for a device.\n  Got:      4 of 4 ports in use\nFix: Start the guest with machine: 'pc'.",
  )
})

test('hot-plug into a guest without `hotplug` is rejected before QEMU is asked', async () => {
  await using vm = await launchVM({ image: false, ssh: false, ready: 'none', log: () => {} })
  const error = await failureOf(vm.plug.disk({ size: '1M' }))
  expect(error.message).toBe(
    'The guest would not detect a disk: it was started without hot-plug support.\nFix: Set the option hotplug: true.',
  )
  const noDisplay = await failureOf(vm.screenshot())
  expect(noDisplay).toMatchObject({ code: 'DISPLAY_UNAVAILABLE' })
  expect(noDisplay.hint).toContain("vga: 'std'")
})
