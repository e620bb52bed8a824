import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe } from 'vitest'
import { checks } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { failureOf } from '../support/failure-of.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

/**
 * Thirty tests as users write them. `bench/under-load.mjs` runs them repeatedly on a busy host, so none may depend on the
 * speed of a guest.
 */
test.override({ vmOptions: { image: 'tiny', hostfwd: [{ guest: 80 }] } })

describe('a shared guest', () => {
  test.override({ vmScope: 'file' })

  test('a guest boots through its stages in order', async ({ vm, serial }) => {
    await expect(serial).toSeeInOrder(['SeaBIOS', /withvm: init/, /withvm: sshd/])
    const stages = vm.timeline.map(({ stage }) => stage)
    expect(stages[0]).toBe('qemu')
    expect(stages.slice(-2)).toEqual(['login', 'ready'])
  })

  test('a guest gets its address over DHCP', async ({ vm }) => {
    await expect(vm.serial).toSee('withvm: network 10.0.2.15')
    await expect(vm).toHaveInterface('eth0', { address: '10.0.2.15' })
  })

  test('a guest has a shell on its console', async ({ serial }) => {
    await expect(serial).toSee(/^root@tiny:\S*# /)
    const mark = serial.mark()
    await serial.type('echo $((6 * 7))\n')
    await expect(serial).toSee(/^42$/, { after: mark })
  })

  test('a command returns stdout, stderr and its exit code', async ({ ssh }) => {
    const { stdout, stderr, exitCode } = await ssh`echo out; echo err >&2`
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'out', stderr: 'err', exitCode: 0 })
  })

  test('arguments of a command are passed unchanged', async ({ ssh }) => {
    const awkward = `it's "$HOME" \\ * ; & \n é`
    expect((await ssh`printf %s ${awkward}`).stdout).toBe(awkward)
  })

  test('a failed command reports its exit code or signal', async ({ ssh }) => {
    await expect(ssh`exit 7`).toFailWith(7)
    await expect(ssh`kill -TERM $$`).toFailWith('SIGTERM')
    await expect(ssh`no-such-program`).toFailWith(127)
  })

  test('a command reads its stdin', async ({ ssh }) => {
    const text = 'line\n'.repeat(20_000)
    expect((await ssh('wc -l', { stdin: text })).stdout).toBe('20000')
  })

  test('a guest runs several commands at the same time', async ({ ssh }) => {
    const results = await Promise.all([1, 2, 3, 4, 5].map((n) => ssh`sleep 0.2; echo ${n}`))
    expect(results.map(({ stdout }) => stdout)).toEqual(['1', '2', '3', '4', '5'])
  })

  test('a command that times out does not block the next command', async ({ ssh }) => {
    const error = await failureOf(ssh('sleep 600', { timeout: '1s' }))
    expect(error.code).toBe('COMMAND_TIMEOUT')
    await expect(ssh`echo runs`).toPrint('runs')
  })

  test('a command rejects when its signal aborts', async ({ ssh }) => {
    const running = ssh('sleep 600', { signal: AbortSignal.timeout(300) })
    await expect(running).rejects.toThrow('was aborted')
  })

  test('files are uploaded and downloaded', async ({ vm }) => {
    const folder = ownTmpdir()
    const sent = join(folder, 'sent')
    writeFileSync(sent, 'x'.repeat(100_000))
    await vm.upload(sent, '/tmp/sent')
    await expect(vm).toHaveFile('/tmp/sent', { content: /^x{100000}$/, owner: 'root' })
    await vm.ssh`echo back >/tmp/back`
    await vm.download('/tmp/back', join(folder, 'back'))
  })

  test('a wait ends when a file is created', async ({ vm }) => {
    await vm.ssh`(sleep 0.5; echo made >/tmp/made; chmod 600 /tmp/made) >/dev/null 2>&1 &`
    await expect(vm).toHaveFile('/tmp/made', { content: 'made', mode: 0o600 })
  })

  test('a wait ends when a file is removed', async ({ vm }) => {
    await vm.ssh`touch /tmp/lock; (sleep 0.5; rm /tmp/lock) >/dev/null 2>&1 &`
    await expect(vm).not.toHaveFile('/tmp/lock')
  })

  test('a server in the guest is reachable from the host', async ({ vm }) => {
    await vm.ssh`mkdir -p /srv; echo hello >/srv/index.html; (sleep 0.5; httpd -h /srv) >/dev/null 2>&1 &`
    await expect(vm).toListenOn(80)
    await expect(vm).toHaveProcess('httpd')
    await expect(vm).toBeReachable('/', { status: 200, body: 'hello' })
  })

  test('mounts and kernel modules are found', async ({ vm }) => {
    await vm.ssh`mkdir -p /mnt/t; mount -t tmpfs tmpfs /mnt/t`
    await expect(vm).toHaveMounted('/mnt/t', { type: 'tmpfs' })
    await expect(vm).toHaveKernelModule('virtio_blk')
  })

  test('`waitFor.any()` resolves when one check is met, `waitFor.all()` when all are', async ({ vm }) => {
    await vm.ssh`(sleep 0.5; touch /tmp/b) >/dev/null 2>&1 &`
    expect(await vm.waitFor.any([checks.fileExists('/tmp/a'), checks.fileExists('/tmp/b')])).toBe(1)
    await vm.waitFor.all([checks.fileExists('/tmp/b'), checks.portListens(22)])
  })

  test('a wait repeats a command until it succeeds', async ({ vm }) => {
    await vm.ssh`(sleep 0.5; echo ready >/tmp/state) >/dev/null 2>&1 &`
    await vm.waitFor.command('cat /tmp/state', { prints: 'ready' })
    await expect(() => vm.ssh`grep -q ready /tmp/state`).toEventuallySucceed()
  })

  test('a broken invariant rejects the command that broke it', async ({ vm }) => {
    await vm.ssh`touch /tmp/invariant`
    const invariant = await vm.always('invariant', checks.fileExists('/tmp/invariant'))
    await vm.ssh`true`
    const error = await failureOf(vm.ssh`rm /tmp/invariant`)
    invariant.stop()
    expect(error.code).toBe('INVARIANT_BROKEN')
  })

  test('a wait that times out reports its condition', async ({ vm }) => {
    const error = await failureOf(vm.waitFor.file('/tmp/never', { timeout: '2s' }))
    expect(error.code).toBe('WAIT_TIMEOUT')
    expect(error.message).toContain('the file /tmp/never to exist')
  })

  test('a wait for the console finds only output after a mark', async ({ serial, ssh }) => {
    await ssh`echo tick >/dev/ttyS0`
    await expect(serial).toSee('tick')
    const mark = serial.mark()
    await ssh`(sleep 0.5; echo tick; echo tick) >/dev/ttyS0 2>&1 &`
    await expect(serial).toSee('tick', { after: mark, times: 2 })
  })

  test('the screen shows drawn text and its removal', async ({ serial, ssh }) => {
    await ssh`printf '\\033[2J\\033[3;5HMenu: \\033[7mdisk\\033[0m' >/dev/ttyS0`
    await expect(serial).toShow('    Menu: disk')
    await ssh`printf '\\033[2J\\033[H' >/dev/ttyS0`
    await expect(serial).not.toShow('Menu')
  })

  test('a console without output is quiet', async ({ serial }) => {
    await expect(serial).toSee('withvm: network') // the last line of the boot
    await expect(serial).toStayQuiet('500ms')
  })

  test('commands run through the agent without a network', async ({ vm }) => {
    await vm.waitFor.process('qemu-ga')
    await expect(vm.exec('id -un')).toPrint('root')
  })

  test('a paused guest continues to run after it is resumed', async ({ vm }) => {
    await vm.qmp.execute('stop')
    await sleep(200)
    await vm.qmp.execute('cont')
    await expect(vm.ssh`echo runs`).toPrint('runs')
    await expect(vm).toBeRunning()
  })
})

describe('separate guests', () => {
  test('a guest keeps synced data over a power cut', async ({ vm }) => {
    await vm.ssh`echo kept >/root/note; sync`
    await vm.powerCut()
    expect(vm.isRunning).toBe(false)
    await vm.start()
    await expect(vm).toHaveFile('/root/note', { content: 'kept' })
  })

  test('a guest reboots and powers itself off', async ({ vm }) => {
    const since = vm.bootCount
    vm.ssh`reboot`.catch(() => {})
    await expect(vm).toHaveRebooted({ since })
    await vm.waitUntilReady()
    vm.ssh`poweroff`.catch(() => {})
    await expect(vm).toBePoweredOff()
    expect(await vm.wait()).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
  })

  test('a panic ends a wait at once', async ({ vm }) => {
    const waiting = failureOf(vm.waitFor.file('/tmp/never', { timeout: '5m' }))
    vm.ssh`echo c >/proc/sysrq-trigger`.catch(() => {})
    expect((await waiting).code).toBe('GUEST_PANICKED')
    await expect(vm).toHavePanicked()
  })

  test('an OOM kill ends a wait at once', async ({ launch }) => {
    const vm = await launch({ memory: '128M' })
    const waiting = failureOf(vm.waitFor.file('/tmp/never', { timeout: '5m' }))
    await expect(vm.ssh`tail /dev/zero`).toFailWith('SIGKILL')
    expect((await waiting).code).toBe('GUEST_FAILED')
    await expect(vm.ssh`echo still runs`).toPrint('still runs')
  })

  test('two guests at the same time have separate disks', async ({ launch }) => {
    const [one, other] = await Promise.all([launch(), launch()])
    await one.ssh`touch /root/note`
    await expect(other).not.toHaveFile('/root/note')
    await Promise.all([one.shutdown(), other.shutdown()])
  })

  test('a guest without its network driver fails in the network stage', async ({ launch }) => {
    const error = await failureOf(launch({ append: 'module_blacklist=virtio_net' }))
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.hint).toContain('the guest does not drive its network card')
  })
})
