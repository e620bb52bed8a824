import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import getPort from 'get-port'
import { expect, test } from 'vitest'
import { launchVM, type VMOptions } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { findOwners, readListeningSockets } from '../../support/proc-sockets.js'

const launch = (options: VMOptions) => launchVM({ log: () => {}, ...options })
/** True if this user can create TAP interfaces, as root can. */
const canTap = process.getuid?.() === 0 && ['/dev/net/tun', '/sbin/ip'].every(existsSync)

test.skipIf(!canTap)('a network card is connected to a TAP interface of the host', async () => {
  const tap = `wt${process.pid}`.slice(0, 15)
  const ip = (...args: string[]) => execFileSync('ip', args)
  ip('tuntap', 'add', 'dev', tap, 'mode', 'tap')
  try {
    ip('addr', 'add', '198.18.77.1/30', 'dev', tap)
    ip('link', 'set', tap, 'up')
    await using vm = await launch({ network: [{}, { tap }] })
    await vm.ssh`ip addr add 198.18.77.2/30 dev eth1 && ip link set eth1 up`
    const { stdout } = await vm.ssh`ping -c 1 -w 20 198.18.77.1`
    expect(stdout).toContain('1 packets received')
  } finally {
    ip('link', 'delete', tap)
  }
})

test('a missing TAP interface is rejected before the boot', async () => {
  const error = await failureOf(launch({ network: [{}, { tap: 'wtabsent' }] }))
  expect(error.message).toMatch(
    /^1 option is invalid; no guest was started\.\n {2}- network\[1\]\.tap: expected an existing TAP interface \(create it with `sudo ip tuntap add dev wtabsent mode tap user \w+`\), got "wtabsent", which is not a TAP interface of this host/,
  )
})

test('RAM is preallocated and locked, and its pages are not merged', async () => {
  await using vm = await launch({
    memory: { size: '64M', preallocate: true, merge: false, lock: true },
    image: false,
    ssh: false,
    debug: { paused: true },
  })
  expect(await vm.qmp.execute('query-memdev')).toMatchObject([
    { id: 'ram', size: 64 * 1024 ** 2, prealloc: true, merge: false },
  ])
  expect(
    Number(/^VmLck:\s+(\d+)/m.exec(readFileSync(`/proc/${vm.pid}/status`, 'utf8'))?.[1]),
  ).toBeGreaterThan(65_536)
})

test('RAM is on huge pages if the host has enough of them, else the option is rejected', async () => {
  const path = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'
  const free = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
  const options: VMOptions = {
    memory: { size: '64M', hugePages: true },
    image: false,
    ssh: false,
    debug: { paused: true },
  }
  if (free < 32) {
    const error = await failureOf(launch(options))
    expect(error.message).toContain(
      `memory.hugePages: expected at least 32 (run \`echo 32 | sudo tee ${path.replace('free', 'nr')}\`), got ${free} free huge pages of 2 MiB on this host`,
    )
    return
  }
  await using vm = await launch(options)
  expect(readFileSync(`/proc/${vm.pid}/smaps`, 'utf8')).toMatch(/^KernelPageSize:\s+2048 kB/m)
})

test('GDB finds the vCPUs stopped and continues them, and QEMU writes the selected log items', async () => {
  const port = await getPort({ host: '127.0.0.1' })
  const logFile = `${ownTmpdir()}/qemu.log`
  await using vm = await launch({
    image: false,
    ssh: false,
    debug: { paused: true, gdb: port, log: ['cpu_reset'], logFile },
  })
  expect(await vm.qmp.execute('query-status')).toMatchObject({ running: false, status: 'prelaunch' })
  const peer = connect(port, '127.0.0.1')
  await once(peer, 'connect')
  peer.write('+$?#3f') // query the reason of the stop
  let reply = ''
  peer.on('data', (bytes) => {
    reply += bytes
  })
  await expect.poll(() => reply).toMatch(/^\+\$T05thread:/)
  peer.write('+$c#63') // continue
  await expect
    .poll(async () => (await vm.qmp.execute('query-status')) as object)
    .toMatchObject({ running: true })
  peer.destroy()
  expect(readFileSync(logFile, 'utf8')).toContain('CPU Reset (CPU 0)')
})

/** Runs GDB in batch mode. Returns its output; the replies of QEMU's monitor are on stderr. */
function runGdb(line: string | undefined, ...commands: string[]): string {
  const args = [line ?? '', ...commands].flatMap((command) => ['-ex', command])
  const { stdout, stderr } = spawnSync('gdb', ['-nx', '-batch', ...args], { encoding: 'utf8' })
  return stdout + stderr
}

test('GDB connects to a unix socket that only the user of the run can access', async () => {
  await using vm = await launch({ image: false, ssh: false, debug: { paused: true, gdb: true } })
  const socket = vm.gdb?.replace(/^target remote /, '') ?? ''
  expect(statSync(socket).isSocket()).toBe(true)
  expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700)
  const own = readListeningSockets().filter(({ inode }) => findOwners(inode).includes(vm.pid))
  expect(own).toEqual([])
  const printed = runGdb(vm.gdb, 'monitor info name', 'info registers pc')
  expect(printed).toMatch(/^pc +0xfff0/m)
  expect(printed).toMatch(/^guest$/m)
  await vm.powerCut()
  await vm.start()
  expect(runGdb(vm.gdb, 'monitor info name')).toMatch(/^guest$/m)
})

test('a QEMU command line with -gdb serves GDB on a loopback port, and the translation is reported', async () => {
  const port = await getPort({ host: '127.0.0.1' })
  await using vm = await launch({
    commandLine: `qemu-system-x86_64 -m 64 -gdb tcp::${port}`,
    image: false,
    ssh: false,
  })
  const own = readListeningSockets().filter(({ inode }) => findOwners(inode).includes(vm.pid))
  expect(own).toMatchObject([{ port, isLoopback: true }])
  expect(vm.gdb).toBe(`target remote 127.0.0.1:${port}`)
  expect(vm.importReport.replacedArguments.map(({ from, to }) => [from, to])).toEqual([
    [`-gdb tcp::${port}`, `debug: { gdb: ${port} }, on 127.0.0.1`],
  ])
})

test('a kernel is booted directly with an initrd and arguments', async () => {
  const { directBoot } = await resolveImage('tiny')
  await using vm = await launch({
    kernel: directBoot?.kernel,
    initrd: directBoot?.initrd,
    append: [...(directBoot?.append ?? []), 'said=by,hand'],
    image: 'tiny',
    cpu: 'qemu64,+rdrand,model-id=A-MODEL',
  })
  const { stdout } = await vm.ssh`cat /proc/cmdline; grep -m1 'model name' /proc/cpuinfo`
  expect(stdout).toMatch(/ said=by,hand\nmodel name\s+: A-MODEL$/)
})
