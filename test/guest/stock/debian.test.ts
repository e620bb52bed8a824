import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { unpackOnce } from '../../support/packages.js'

const options = { image: 'debian', standby: false, log: () => {} } as const

beforeAll(async () => {
  await resolveImage('debian')
}, 900_000)

test('clones of debian are in the state running, and each has its own identity', async () => {
  await using one = await launchVM({ ...options, name: 'one' })
  await using two = await launchVM({ ...options, name: 'two' })
  expect(one.startedFrom.kind).toBe('template')
  const facts = async (vm: VM) => ({
    state: (await vm.ssh('systemctl is-system-running --wait', { reject: false })).stdout,
    failed: (await vm.ssh`systemctl --failed --plain --no-legend`).stdout,
    init: (await vm.ssh`cat /proc/1/comm`).stdout,
    name: (await vm.ssh`hostname`).stdout,
  })
  const running = { state: 'running', failed: '', init: 'systemd' }
  expect(await facts(one)).toEqual({ ...running, name: 'one' })
  expect(await facts(two)).toEqual({ ...running, name: 'two' })
  const own = async (command: string) => [(await one.exec(command)).stdout, (await two.exec(command)).stdout]
  for (const command of [
    'cat /etc/machine-id',
    'cat /sys/class/net/eth0/address',
    'head -c 16 /dev/urandom | od -A n -t x1',
    'cat /etc/ssh/ssh_host_ed25519_key',
    'cat /run/withvm/authorized_keys',
  ]) {
    const [first, second] = await own(command)
    expect(first, command).not.toBe(second)
    expect(first?.trim(), command).not.toBe('')
  }
  await expect.poll(async () => (await one.ssh`cat /etc/hostname`).stdout, { timeout: 30_000 }).toBe('one')
  // The guest gets its lease after the test has started, and its address does not change.
  await one.waitFor.command('networkctl status eth0 | grep -q "DHCP4 via"', { timeout: '60s' })
  expect((await one.ssh`ip -4 -brief addr show eth0`).stdout).toContain('10.0.2.15/24')
  expect((await one.ssh`journalctl -b -q -o cat -u systemd-networkd`).stdout).toContain('acquired')
  expect((await one.ssh`systemctl is-system-running`).stdout).toBe('running')
})

test('debian resolves the names of DynamicUser= users, and its watchdog resets a hung guest', async () => {
  await using vm = await launchVM({ ...options, watchdog: true })
  await vm.ssh`systemd-run -q -p DynamicUser=yes --unit=passing sleep 1000`
  expect(
    (await vm.ssh`ps -o user= -p $(systemctl show -P MainPID passing); getent passwd passing`).stdout,
  ).toMatch(/^passing\npassing:/)
  const from = vm.serial.mark()
  expect((await vm.ssh`cat /sys/class/watchdog/watchdog0/identity`).stdout).toBe('wdat_wdt')
  await vm.ssh`echo started >/dev/watchdog`
  await vm.serial.waitFor(/withvm: sshd/, { from, timeout: '200s' })
}, 600_000)

test('debian boots with BIOS and its own boot loader, and accepts the SSH key of the run for any user', async () => {
  await using vm = await launchVM({ ...options, boot: 'c' })
  expect(vm.startedFrom.kind).toBe('cold')
  expect(vm.serial.text).toMatch(/GRUB[\s\S]*withvm: sshd/)
  expect((await vm.ssh`cat /proc/cmdline`).stdout).toMatch(/^BOOT_IMAGE=\/vmlinuz .*console=ttyS0/)
  expect((await vm.ssh`systemctl is-system-running --wait`).stdout).toBe('running')
  expect((await vm.ssh`hostname; stat -c %s /etc/machine-id`).stdout).toBe('debian\n33')
  // The host key of the run is pinned, and its SSH key is valid for every user.
  await vm.ssh`useradd -m -s /bin/bash anna`
  expect((await vm.ssh('id -un; echo $XDG_RUNTIME_DIR', { user: 'anna' })).stdout).toMatch(
    /^anna\n\/run\/user\//,
  )
  await vm.serial.waitFor(/root@debian:~#/)
})

test('debian boots with UEFI from its EFI system partition', async () => {
  const firmware = join(await unpackOnce(['ovmf']), 'usr/share/OVMF')
  const variables = join(ownTmpdir(), 'variables.fd')
  copyFileSync(join(firmware, 'OVMF_VARS_4M.fd'), variables)
  const flash = (path: string, more: string) => ['-drive', `if=pflash,format=raw,file=${path}${more}`]
  await using vm = await launchVM({
    ...options,
    boot: 'c',
    qemuArgs: [...flash(join(firmware, 'OVMF_CODE_4M.fd'), ',readonly=on'), ...flash(variables, '')],
  })
  expect((await vm.ssh`ls -d /sys/firmware/efi`).stdout).toBe('/sys/firmware/efi')
})
