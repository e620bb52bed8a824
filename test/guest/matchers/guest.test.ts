import { describe } from 'vitest'
import type { VM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test.override({ vmScope: 'file', vmOptions: { hostfwd: [{ guest: 80 }] } })

/** Long enough for one poll, short enough for a test. */
const SOON = { timeout: 1500 }
/** Longer than one long poll in the guest, so that there is a result on a busy host too. */
const LONGER_THAN_A_POLL = { timeout: '7s' } as const

/** Masks the call log, which differs from run to run, and removes the lines of the console, if there are any. */
async function message(assertion: Promise<unknown>): Promise<string> {
  return (await matcherMessage(assertion))
    .replace(/(Call log:\n) {2}\|.*(?:\n {2}\|.*)*/, '$1  | ATTEMPTS')
    .replace('\n\nSerial console, last lines:\n  | LINES', '')
}

/** Installs a `systemctl` and a `journalctl` in the guest that print the given texts. */
const pretend = async (vm: VM, unit: string, journal = '') => {
  await vm.ssh`printf '#!/bin/sh\ncase $1 in list-jobs) ;; *) cat /tmp/unit;; esac\n' >/usr/bin/systemctl`
  await vm.ssh`printf '#!/bin/sh\ncat /tmp/journal\n' >/usr/bin/journalctl`
  await vm.ssh`chmod +x /usr/bin/systemctl /usr/bin/journalctl`
  await vm.ssh`printf ${unit} >/tmp/unit; printf ${journal} >/tmp/journal`
}
const ACTIVE = 'LoadState=loaded\nActiveState=active\nSubState=running\n'
const FAILED = 'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=1\n'
const STARTING = 'LoadState=loaded\nActiveState=activating\nSubState=start\n'

test('toHaveFile waits for a file with the expected properties', async ({ vm }) => {
  await vm.ssh`(sleep 0.3; echo hello >/tmp/made; chmod 640 /tmp/made) >/dev/null 2>&1 &`
  await expect(vm).toHaveFile('/tmp/made')
  await expect(vm).toHaveFile('/tmp/made', { content: 'hello', mode: 0o640, owner: 'root' })
  await expect(vm).toHaveFile('/tmp/made', { content: /^hell/ })
  await expect(vm).not.toHaveFile('/tmp/made', { content: 'other' })
  await expect(vm).not.toHaveFile('/tmp/none')
  expect(
    await message(expect(vm).toHaveFile('/tmp/made', { content: 'bye', mode: 0o600, ...SOON })),
  ).toMatchInlineSnapshot(`
    "expect(vm).toHaveFile('/tmp/made', { content: 'bye', mode: 0o600, timeout: 1500 }) failed after TIME

      Expected: the file /tmp/made to exist with mode 600, content "bye"
      Received: mode 640, content "hello"

    Call log:
      | ATTEMPTS"
  `)
  expect(await message(expect(vm).not.toHaveFile('/etc/hostname', SOON))).toContain(
    'Expected: the file /etc/hostname not to exist',
  )
})

test('toHaveProcess waits for a process with the name or the command line', async ({ vm }) => {
  await vm.ssh`(sleep 0.3; exec sleep 4711) >/dev/null 2>&1 &`
  await expect(vm).toHaveProcess(/sleep 4711/)
  await expect(vm).toHaveProcess('sleep')
  await expect(vm).not.toHaveProcess('no-such-thing')
  const failure = await message(expect(vm).toHaveProcess('nginx', SOON))
  expect(
    failure.replace(/(Processes of the guest:\n) {2}\|.*(?:\n {2}\|.*)*/, '$1  | PROCESSES'),
  ).toMatchInlineSnapshot(`
    "expect(vm).toHaveProcess('nginx', { timeout: 1500 }) failed after TIME

      Expected: a process named nginx to be running
      Received: none among N processes

    Call log:
      | ATTEMPTS

    Processes of the guest:
      | PROCESSES"
  `)
})

test('toListenOn waits for an open port, toBeReachable for a response to the host', async ({ vm }) => {
  await expect(vm).not.toListenOn(80)
  await vm.ssh`mkdir -p /srv && echo from the guest >/srv/index.html`
  await vm.ssh`(sleep 0.3; httpd -h /srv) >/dev/null 2>&1 &`
  await expect(vm).toListenOn(80)
  await expect(vm).toBeReachable(80)
  await expect(vm).toBeReachable('/index.html', { status: 200, body: 'from the guest' })
  await expect(vm).toBeReachable(vm.url(80))
  await expect(vm).not.toListenOn(80, { protocol: 'udp' })
  expect(
    (await message(expect(vm).toListenOn(8080, LONGER_THAN_A_POLL))).replace(
      /(?<=open tcp ports: ).*/,
      'PORTS',
    ),
  ).toMatchInlineSnapshot(`
    "expect(vm).toListenOn(8080, { timeout: '7s' }) failed after TIME

      Expected: tcp port PORT to be open
      Received: open tcp ports: PORTS

    Call log:
      | ATTEMPTS"
  `)
  expect(await message(expect(vm).toBeReachable('/none.html', SOON))).toMatchInlineSnapshot(`
    "expect(vm).toBeReachable('/none.html', { timeout: 1500 }) failed after TIME

      Expected: /none.html to answer
      Received: status 404

    Call log:
      | ATTEMPTS"
  `)
})

test('toHaveMounted compares the type of a mounted file system', async ({ vm }) => {
  await expect(vm).toHaveMounted('/proc', { type: 'proc' })
  await expect(vm).not.toHaveMounted('/mnt')
  expect(await message(expect(vm).toHaveMounted('/proc', { type: 'ext4', ...SOON }))).toMatchInlineSnapshot(`
    "expect(vm).toHaveMounted('/proc', { type: 'ext4', timeout: 1500 }) failed after TIME

      Expected: /proc to be mounted as ext4
      Received: mounted from proc as proc

    Call log:
      | ATTEMPTS"
  `)
})

test('toHaveInterface compares the addresses of a network interface', async ({ vm }) => {
  await expect(vm).toHaveInterface('eth0', { address: '10.0.2.15' })
  await expect(vm).not.toHaveInterface('eth1')
  const failure = await message(expect(vm).toHaveInterface('eth0', { address: '10.0.2.16', ...SOON }))
  // IPv6 addresses are derived from the MAC address, and appear later.
  expect(failure.replace(/(, f[ec]\w+::[\w:/]+)+/, '')).toMatchInlineSnapshot(`
    "expect(vm).toHaveInterface('eth0', { address: '10.0.2.16', timeout: 1500 }) failed after TIME

      Expected: the interface eth0 to be up with the address 10.0.2.16
      Received: up, addresses 10.0.2.15/24

    Call log:
      | ATTEMPTS"
  `)
})

test('toHaveKernelModule finds a loaded module, and lists the others on failure', async ({ vm }) => {
  await expect(vm).toHaveKernelModule('virtio_net')
  await expect(vm).not.toHaveKernelModule('floppy')
  const failure = await message(expect(vm).toHaveKernelModule('floppy', LONGER_THAN_A_POLL))
  expect(failure.replace(/(?<=not among:\n).*/, '            MODULES')).toMatchInlineSnapshot(`
    "expect(vm).toHaveKernelModule('floppy', { timeout: '7s' }) failed after TIME

      Expected: the kernel module floppy to be loaded
      Received: not among:
                MODULES

    Call log:
      | ATTEMPTS"
  `)
})

describe('with systemd', () => {
  test('toHaveActiveUnit waits for a unit, and fails at once with the journal of a failed unit', async ({
    vm,
  }) => {
    await pretend(vm, STARTING)
    await vm.ssh`(sleep 0.3; printf ${ACTIVE} >/tmp/unit) >/dev/null 2>&1 &`
    await expect(vm).toHaveActiveUnit('demo')
    await pretend(vm, FAILED, 'demo[12]: no configuration\n')
    await expect(vm).not.toHaveActiveUnit('demo')
    expect(await message(expect(vm).toHaveActiveUnit('demo'))).toMatchInlineSnapshot(`
      "expect(vm).toHaveActiveUnit('demo') failed at once, after TIME: the unit demo failed

        Expected: the unit demo to be active
        Received: failed (failed), result exit-code, exit status 1

      Call log:
        | ATTEMPTS

      Journal of demo:
        | demo[12]: no configuration"
    `)
  })

  test('toHaveCleanJournal fails at once for an error in the journal, unless it is allowed', async ({
    vm,
  }) => {
    await pretend(vm, ACTIVE)
    await expect(vm).toHaveCleanJournal()
    await pretend(vm, ACTIVE, 'demo[12]: an error\n')
    await expect(vm).toHaveCleanJournal({ allow: [/an error/] })
    await expect(vm).toHaveCleanJournal({ ignore: [/an error/] })
    await expect(vm).not.toHaveCleanJournal()
    expect(await message(expect(vm).toHaveCleanJournal())).toMatchInlineSnapshot(`
      "expect(vm).toHaveCleanJournal() failed at once, after TIME: the journal has 1 such line

        Expected: the journal to contain no messages of level err or worse
        Received: demo[12]: an error

      Call log:
        | ATTEMPTS"
    `)
  })
})

test('toBeRunning, toHaveRebooted, toBePoweredOff and toHavePanicked follow the state of the guest', async ({
  launch,
}) => {
  const vm = await launch()
  const since = vm.bootCount
  await expect(vm).toBeRunning()
  await expect(vm).not.toBePoweredOff()
  await expect(vm).not.toHavePanicked()
  await expect(vm).not.toHaveRebooted()
  expect(await message(expect(vm).not.toBeRunning(SOON))).toMatchInlineSnapshot(`
    "expect(vm).not.toBeRunning({ timeout: 1500 }) failed after TIME

      Expected: the guest not to be running
      Received: running

    Call log:
      | ATTEMPTS"
  `)
  expect(await message(expect(vm).toBePoweredOff(SOON))).toMatchInlineSnapshot(`
    "expect(vm).toBePoweredOff({ timeout: 1500 }) failed after TIME

      Expected: the guest to be powered off
      Received: running

    Call log:
      | ATTEMPTS"
  `)
  expect(await message(expect(vm).toHaveRebooted(SOON))).toMatchInlineSnapshot(`
    "expect(vm).toHaveRebooted({ timeout: 1500 }) failed after TIME

      Expected: the guest to have rebooted
      Received: no reboot; running

    Call log:
      | ATTEMPTS"
  `)
  expect(await message(expect(vm).toHavePanicked(SOON))).toMatchInlineSnapshot(`
    "expect(vm).toHavePanicked({ timeout: 1500 }) failed after TIME

      Expected: the guest to have panicked
      Received: running

    Call log:
      | ATTEMPTS"
  `)
  vm.ssh`reboot`.catch(() => {})
  await expect(vm).toHaveRebooted({ since })
  await vm.waitUntilReady()
  vm.ssh`poweroff`.catch(() => {})
  await expect(vm).toBePoweredOff()
  await expect(vm).not.toBeRunning()
  expect(await message(expect(vm).toBeRunning())).toMatchInlineSnapshot(`
    "expect(vm).toBeRunning() failed at once, after TIME: the guest is lost

      Expected: the guest to be running
      Received: powered off: The guest powered itself off. (GUEST_STOPPED)

    Call log:
      | ATTEMPTS"
  `)
  expect(await message(expect(vm).toHavePanicked())).toMatchInlineSnapshot(`
    "expect(vm).toHavePanicked() failed at once, after TIME: the guest is off

      Expected: the guest to have panicked
      Received: powered off: The guest powered itself off. (GUEST_STOPPED)

    Call log:
      | ATTEMPTS"
  `)
})

test('a panic ends all guest matchers at once', async ({ launch }) => {
  const vm = await launch()
  const options = { timeout: '2m' } as const
  // Each matcher waits when the guest panics, also those that need systemd.
  await pretend(vm, STARTING)
  const waiting = [
    expect(vm).toHaveFile('/none', options),
    expect(vm).not.toHaveFile('/etc/hostname', options),
    expect(vm).toHaveActiveUnit('none', options),
    expect(vm).toHaveProcess('none', options),
    expect(vm).toListenOn(9, options),
    expect(vm).toBeReachable('http://127.0.0.1:9/', options),
    expect(vm).toHaveMounted('/none', options),
    expect(vm).toHaveInterface('none', options),
    expect(vm).toHaveKernelModule('none', options),
    expect(vm).not.toHaveCleanJournal(options),
    expect(vm).toHaveRebooted(options),
    expect(vm).toBePoweredOff(options),
  ].map(message)
  await vm.ssh`sleep 1`
  const startedAt = performance.now()
  vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
  const messages = await Promise.all(waiting)
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  expect(messages[0]).toMatchInlineSnapshot(`
    "expect(vm).toHaveFile('/none', { timeout: '2m' }) failed at once, after TIME: the guest is lost

      Expected: the file /none to exist
      Received: The guest's kernel panicked
                [TIME] Kernel panic - not syncing: sysrq triggered crash

    Call log:
      | ATTEMPTS

    Fix: Read the lines above the panic for its cause."
  `)
  expect(messages.map((text) => text.split('\n', 1)[0])).toMatchInlineSnapshot(`
    [
      "expect(vm).toHaveFile('/none', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).not.toHaveFile('/etc/hostname', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toHaveActiveUnit('none', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toHaveProcess('none', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toListenOn(9, { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toBeReachable('http://127.0.0.1:PORT/', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toHaveMounted('/none', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toHaveInterface('none', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toHaveKernelModule('none', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).not.toHaveCleanJournal({ timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toHaveRebooted({ timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm).toBePoweredOff({ timeout: '2m' }) failed at once, after TIME: The guest's kernel panicked",
    ]
  `)
  await expect(vm).toHavePanicked()
  expect(await message(expect(vm).toBeRunning())).toMatchInlineSnapshot(`
    "expect(vm).toBeRunning() failed at once, after TIME: the guest is lost

      Expected: the guest to be running
      Received: running: The guest's kernel panicked. (GUEST_PANICKED)

    Call log:
      | ATTEMPTS"
  `)
})
