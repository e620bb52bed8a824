import { setTimeout as sleep } from 'node:timers/promises'
import { describe } from 'vitest'
import { checks, type VM, type WaitForOptions } from 'withvm'
import { expect } from 'withvm/vitest'
import { sha256Of } from '../support/digest.js'
import { guestTest } from '../support/guest-test.js'
import { maskMessage, rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny', hostfwd: [{ guest: 80 }] })

/** Masks the values of an error message that differ from guest to guest. */
const mask = (error: Error) =>
  maskMessage(error)
    .replace(/(Serial console, last lines:\n)(?: {2}\|.*\n)+/g, '$1  | …\n')
    .replace(/ \(\d+ times\)/g, '')
    .replace(/none among \d+ processes/g, 'none among N processes')
    .replace(/(Processes of the guest:\n)(?: {2}\|.*\n)+/g, '$1  | …\n')
    .replace(/(Call log:\n)(?: {2}\| after TIME: (.*)\n)+/g, '$1  | after TIME: $2\n')

/** Runs a script in the background of the guest. */
const inBackground = (vm: VM, script: string) => vm.ssh`setsid sh -c ${script} >/dev/null 2>&1 </dev/null &`

describe('vm.waitFor', () => {
  const cases: Record<
    string,
    { after: string; clean: string; wait: (vm: VM, options: WaitForOptions) => Promise<unknown> }
  > = {
    'a file': {
      after: 'touch /tmp/made',
      clean: 'rm /tmp/made',
      wait: (vm, options) => vm.waitFor.file('/tmp/made', options),
    },
    'a file with mode, owner, digest and content': {
      after:
        "umask 077; echo 'a b' >'/tmp/a file'; sleep 0.4; chmod 640 '/tmp/a file'; chown 1000:0 '/tmp/a file'",
      clean: "rm '/tmp/a file'",
      wait: (vm, options) =>
        vm.waitFor.file('/tmp/a file', {
          ...options,
          mode: 0o640,
          owner: 'user:root',
          sha256: sha256Of('a b\n'),
          content: 'a b',
        }),
    },
    'a port': {
      after: 'exec nc -l -p 4242 </dev/null',
      clean: 'killall nc',
      wait: (vm, options) => vm.waitFor.port(4242, options),
    },
    'a process by its command line': {
      after: 'exec sleep 4321',
      clean: 'kill $(pidof sleep)',
      wait: async (vm, options) =>
        expect(await vm.waitFor.process(/^sleep 432/, options)).toMatchObject([
          { name: 'sleep', commandLine: 'sleep 4321' },
        ]),
    },
    'a process by its name': {
      after: 'exec nc -l -p 4244',
      clean: 'kill $(pidof nc)',
      wait: (vm, options) => vm.waitFor.process('nc', options),
    },
    'a command': {
      after: 'mkdir /tmp/folder',
      clean: 'rmdir /tmp/folder',
      wait: async (vm, options) =>
        expect(await vm.waitFor.command('cd /tmp/folder && pwd', options)).toMatchObject({
          stdout: '/tmp/folder',
        }),
    },
    'the output of a command': {
      after: 'echo 3 >/tmp/count',
      clean: 'rm /tmp/count',
      wait: (vm, options) => vm.waitFor.command('cat /tmp/count', { ...options, prints: /^3$/ }),
    },
    'an exit code': {
      after: 'echo exit 7 >/tmp/code',
      clean: 'rm /tmp/code',
      wait: (vm, options) => vm.waitFor.command('sh /tmp/code', { ...options, exitCode: 7 }),
    },
    'the serial console': {
      after: 'echo waited-for-line >/dev/ttyS0',
      clean: 'true',
      wait: async (vm, options) =>
        expect(await vm.waitFor.serial(/waited-(\w+)-line/, { ...options, from: 'now' })).toMatchObject({
          text: 'waited-for-line',
        }),
    },
    'a custom check': {
      after: 'touch /tmp/own',
      clean: 'rm /tmp/own',
      wait: (vm, options) =>
        vm.waitFor.check(
          async () => (await vm.ssh('test -e /tmp/own', { reject: false })).exitCode === 0,
          options,
        ),
    },
    'all of several checks': {
      after: 'touch /tmp/one; sleep 0.5; touch /tmp/two',
      clean: 'rm /tmp/one /tmp/two',
      wait: (vm, options) =>
        vm.waitFor.all(
          [checks.fileExists('/tmp/one'), checks.fileExists('/tmp/two'), () => vm.ssh`true`],
          options,
        ),
    },
    'one of several checks': {
      after: 'touch /tmp/two',
      clean: 'rm /tmp/two',
      wait: async (vm, options) =>
        expect(
          await vm.waitFor.any([checks.fileExists('/tmp/one'), checks.fileExists('/tmp/two')], options),
        ).toBe(1),
    },
    'a kernel module': {
      after: 'modprobe dummy || insmod $(find /lib/modules -name "dummy.ko*")',
      clean: 'true',
      wait: (vm, options) => vm.waitFor.check(checks.moduleIsLoaded('virtio-net'), options),
    },
    'a mount': {
      after: 'mkdir -p "/tmp/a mount"; mount -t tmpfs none "/tmp/a mount"',
      clean: 'umount "/tmp/a mount"',
      wait: (vm, options) => vm.waitFor.check(checks.isMounted('/tmp/a mount', { type: 'tmpfs' }), options),
    },
    'a network interface': {
      after: 'true',
      clean: 'true',
      wait: (vm, options) =>
        vm.waitFor.check(checks.interfaceIsUp('eth0', { address: '10.0.2.15' }), options),
    },
  }
  test.for(Object.entries(cases))('vm.waitFor waits for %s', async ([, { after, clean, wait }], { vm }) => {
    await inBackground(vm, `sleep 0.3; ${after}`)
    await wait(vm, { timeout: '20s' })
    await vm.ssh(clean)
  })

  test('vm.waitFor.url() waits for a URL, and returns its response', async ({ vm }) => {
    await inBackground(
      vm,
      'sleep 0.5; while :; do printf "HTTP/1.0 203 ok\\r\\n\\r\\nhello" | nc -l -p 80; done',
    )
    expect(await vm.waitFor.url('/', { body: 'hello' })).toEqual({ status: 203, body: 'hello' })
    expect(await vm.waitFor.url(vm.url(80, '/x'), { status: 203 })).toMatchObject({ status: 203 })
    const error = await rejection(vm.waitFor.url(80, { status: 500, timeout: '1s' }))
    expect(error.message).toContain('Expected: port 80 to answer with status 500\n  Got:      status 203')
  })
})

describe('a wait that fails', () => {
  test('a timeout reports the expectation, the last observed value and the call log', async ({ vm }) => {
    const error = await rejection(vm.waitFor.process('no-such-thing', { timeout: '700ms' }))
    expect(error).toMatchObject({ code: 'WAIT_TIMEOUT', kind: 'guest' })
    expect(mask(error)).toMatchInlineSnapshot(`
      "Timed out after TIME waiting for a process named no-such-thing to be running.
        Expected: a process named no-such-thing to be running
        Got:      none among N processes

      Processes of the guest:
        | …

      Call log:
        | after TIME: none among N processes
        | ended after TIME

      Serial console, last lines:
        | …

      Fix: Compare the observed value above with the expected one. If the guest only needs more time, set a longer \`timeout\`."
    `)
  })

  test('a wait for a missing file reports the other files of its folder', async ({ vm }) => {
    await vm.ssh`mkdir -p /tmp/dir; touch /tmp/dir/another`
    const error = await rejection(vm.waitFor.file('/tmp/dir/file', { timeout: '500ms' }))
    expect(error.message).toContain('Got:      no such file; its folder contains another\n')
  })

  test('a wait for a file with other content reports the difference', async ({ vm }) => {
    await vm.ssh`echo is >/tmp/content`
    const error = await rejection(
      vm.waitFor.file('/tmp/content', { content: 'was', mode: '600', timeout: '300ms' }),
    )
    expect(error.message).toContain(
      'Expected: the file /tmp/content to exist with mode 600, content "was"\n  Got:      mode 644, content "is"',
    )
  })

  test('waitFor.all() reports the checks that are not met', async ({ vm }) => {
    const error = await rejection(
      vm.waitFor.all([checks.fileExists('/'), checks.portListens(9), checks.commandSucceeds('false')], {
        timeout: '300ms',
      }),
    )
    expect(error.message).toMatch(
      /Got: {6}tcp port 9 to be open: open tcp ports: 22.*\n {12}`false` to succeed: exit code 1\n/,
    )
  })

  test('a timeout ends a hanging command', async ({ vm }) => {
    const startedAt = performance.now()
    const error = await rejection(vm.waitFor.command('sleep 1234', { timeout: '500ms' }))
    expect(performance.now() - startedAt).toBeLessThan(6000)
    expect(error.message).toContain('Got:      nothing: the first poll did not finish in time')
    await vm.waitFor.check(
      async () => (await vm.ssh('pgrep -f "sleep 1234"', { reject: false })).stdout === '',
    )
  })

  test('an aborted wait rejects with the reason of its signal', async ({ vm }) => {
    const reason = new Error('given up')
    const controller = new AbortController()
    const waiting = rejection(vm.waitFor.file('/tmp/never', { signal: controller.signal }))
    await sleep(200)
    controller.abort(reason)
    expect(await waiting).toBe(reason)
  })

  test.for([
    ['timeout', (vm: VM) => vm.waitFor.port(80, { timeout: 'soon' as '1s' })],
    ['interval', (vm: VM) => vm.waitFor.port(80, { interval: -1 })],
    ['integer', (vm: VM) => vm.waitFor.port(80_000)],
    ['path', (vm: VM) => vm.waitFor.file('relative')],
    ['URL', (vm: VM) => vm.waitFor.url('ftp://x')],
    ['forwarded', (vm: VM) => vm.waitFor.url(8080)],
  ] as const)('an invalid %s rejects at once', async ([word, wait], { vm }) => {
    const error = await rejection((async () => wait(vm))())
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(error.message).toContain(word)
  })
})

describe('waitFor.unit()', () => {
  /** Installs a `systemctl` and a `journalctl` in the guest that print the given texts. */
  const fake = async (vm: VM, { jobs = '', show }: { jobs?: string; show: string }) => {
    const script = '#!/bin/sh\ncase $1 in list-jobs) cat /tmp/jobs;; show) cat /tmp/show;; esac\n'
    const journal = '#!/bin/sh\necho "demo[7]: cannot open /etc/demo.conf"\n'
    await vm.ssh`printf %s ${script} >/usr/bin/systemctl; printf %s ${journal} >/usr/bin/journalctl; chmod +x /usr/bin/systemctl /usr/bin/journalctl; echo ${jobs} >/tmp/jobs; echo ${show} >/tmp/show`
  }
  const state = (active: string, sub: string, more = '') =>
    `LoadState=loaded\nActiveState=${active}\nSubState=${sub}\n${more}`

  test('waitFor.unit() reports a guest without systemd', async ({ vm }) => {
    await vm.ssh`rm -f /usr/bin/systemctl`
    const error = await rejection(vm.waitFor.unit('demo'))
    expect(error).toMatchObject({ code: 'WAIT_FAILED' })
    expect(error.message).toContain('the guest has no systemd that answers')
  })

  test('waitFor.unit() waits while the unit starts', async ({ vm }) => {
    await fake(vm, { show: state('activating', 'start') })
    await inBackground(vm, `sleep 0.5; echo ActiveState=active >/tmp/show`)
    await vm.waitFor.unit('demo')
  })

  test('a failed unit ends the wait at once, with its journal', async ({ vm }) => {
    await fake(vm, { show: state('failed', 'failed', 'Result=exit-code\nExecMainStatus=3') })
    const startedAt = performance.now()
    const error = await rejection(vm.waitFor.unit('demo', { timeout: '60s' }))
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(error).toMatchObject({ code: 'WAIT_FAILED' })
    expect(mask(error)).toMatchInlineSnapshot(`
      "Gave up waiting for the unit demo to be active after TIME: the unit demo failed.
        Expected: the unit demo to be active
        Got:      failed (failed), result exit-code, exit status 3

      Journal of demo:
        | demo[7]: cannot open /etc/demo.conf

      Call log:
        | after TIME: failed (failed), result exit-code, exit status 3
        | ended after TIME

      Serial console, last lines:
        | …

      Fix: Check the evidence above: waiting longer does not help."
    `)
  })

  test('an inactive unit without a job ends the wait at once', async ({ vm }) => {
    await fake(vm, { show: state('inactive', 'dead') })
    const error = await rejection(vm.waitFor.unit('demo', { timeout: '60s' }))
    expect(error.message).toContain('the unit demo is inactive, and systemd has no job to do')
    await fake(vm, { jobs: '12 other.service start running', show: state('inactive', 'dead') })
    const waiting = rejection(vm.waitFor.unit('demo', { timeout: '700ms' }))
    expect((await waiting).message).toContain('Got:      inactive (dead), with jobs pending')
  })
})

describe('vm.always()', () => {
  test('vm.always() does not affect commands and waits while the check is met', async ({ vm }) => {
    await using invariant = await vm.always('SSH listens', checks.portListens(22))
    expect((await vm.ssh`echo a`).stdout).toBe('a')
    await vm.waitFor.file('/etc/passwd')
    await invariant.check()
  })

  test('the command that breaks an invariant fails, with the commands before it', async ({ vm }) => {
    await vm.ssh`mkdir /tmp/held; touch /tmp/held/up /tmp/held/other`
    const up = await vm.always('up', checks.fileExists('/tmp/held/up'))
    await vm.ssh`true`
    const error = await rejection(vm.ssh`rm /tmp/held/up`)
    expect(error).toMatchObject({ code: 'INVARIANT_BROKEN', kind: 'guest' })
    expect(mask(error)).toMatchInlineSnapshot(`
      "The invariant 'up' broke: detected after \`rm /tmp/held/up\`.
        Expected: the file /tmp/held/up to exist
        Got:      no such file; its folder contains other

      Commands since the last successful check, TIME earlier:
        | \`rm /tmp/held/up\`

      Serial console, last lines:
        | …

      Fix: Check the commands above. If the change is intended, call \`stop()\` on the invariant before it."
    `)
    const again = await rejection(vm.ssh`true`)
    expect(again).toMatchObject({ code: 'INVARIANT_BROKEN', message: (error as Error).message })
    up.stop()
    expect((await vm.ssh`echo again`).stdout).toBe('again')
  })

  test('a broken invariant ends a wait', async ({ vm }) => {
    await vm.ssh`touch /tmp/up`
    const up = await vm.always('up', () => vm.ssh`test -e /tmp/up`)
    await inBackground(vm, 'sleep 0.7; rm /tmp/up')
    const error = await rejection(vm.waitFor.file('/tmp/never', { timeout: '60s' }))
    expect(error.message).toMatch(
      /^The invariant 'up' broke: detected while waiting for the file \/tmp\/never to exist\.\n {2}Expected: 'up' to be met\n {2}Got: {6}`test -e \/tmp\/up` failed with exit code 1\n/,
    )
    up.stop()
  })

  test('a broken invariant ends a matcher that waits for the console', async ({ vm }) => {
    await vm.ssh`touch /tmp/up`
    const up = await vm.always('up', checks.fileExists('/tmp/up'))
    await inBackground(vm, 'sleep 0.7; rm /tmp/up')
    const error = await rejection(expect(vm.serial).toSee('never printed', { timeout: '60s' }))
    up.stop()
    expect(error).toMatchObject({ code: 'INVARIANT_BROKEN' })
    expect(error.message).toMatch(/^The invariant 'up' broke: detected while waiting for the console\./)
  })

  test('with `await using`, the check runs once more at the end of the block', async ({ vm }) => {
    const error = await rejection(
      (async () => {
        await vm.ssh`touch /tmp/up`
        await using _ = await vm.always('up', checks.fileExists('/tmp/up'))
        await inBackground(vm, 'sleep 0.2; rm /tmp/up')
        await sleep(1000)
      })(),
    )
    expect(error.message).toContain("The invariant 'up' broke: detected at the end of its block.")
  })

  test('vm.always() rejects if the check is not met when it is called', async ({ vm }) => {
    const error = await rejection(vm.always('down', checks.portListens(7)))
    expect(error.message).toContain("The invariant 'down' is already broken when `vm.always()` is called.")
    expect((await vm.ssh`echo free`).stdout).toBe('free')
  })
})

describe('waits and the power state', () => {
  test('waitFor.reboot() waits until a rebooted guest is ready, and an earlier reboot counts', async ({
    vm,
  }) => {
    await vm.ssh`echo old >/tmp/old`
    await vm.ssh('reboot', { reject: false }).catch(() => {})
    await vm.waitFor.reboot()
    expect((await vm.ssh('cat /tmp/old', { reject: false })).exitCode).toBe(1)
    const error = await rejection(vm.waitFor.reboot({ timeout: '300ms' }))
    expect(error.message).toContain('Expected: the guest to have rebooted\n  Got:      no reboot; running')
    await vm.reboot()
    expect(await rejection(vm.waitFor.reboot({ timeout: '300ms' }))).toMatchObject({ code: 'WAIT_TIMEOUT' })
  })

  test('waitFor.shutdown() waits for a power-off by the guest, and an earlier one counts', async ({ vm }) => {
    await inBackground(vm, 'sleep 0.3; poweroff')
    expect(await vm.waitFor.shutdown()).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
    expect(await vm.waitFor.shutdown()).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
    expect(await rejection(vm.waitFor.port(22))).toMatchObject({ code: 'GUEST_STOPPED' })
    await vm.start()
  })

  test('a panic ends every wait at once', async ({ vm }) => {
    const waits = [
      vm.waitFor.file('/tmp/never'),
      vm.waitFor.port(9),
      vm.waitFor.process('never'),
      vm.waitFor.command('false'),
      vm.waitFor.serial('never printed'),
      vm.waitFor.url(80),
      vm.waitFor.shutdown(),
      vm.waitFor.reboot(),
      vm.waitFor.all([checks.fileExists('/tmp/never')]),
    ].map((waiting) => rejection(waiting as Promise<unknown>))
    const trace = vm.waitFor.serial(/end Kernel panic - not syncing: sysrq/, { from: 'now' })
    await sleep(500)
    const startedAt = performance.now()
    vm.ssh`echo c >/proc/sysrq-trigger`.catch(() => {})
    const errors = await Promise.all(waits)
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(errors.map((error) => (error as { code?: string }).code)).toEqual([
      ...Array(6).fill('GUEST_PANICKED'),
      'WAIT_FAILED',
      'WAIT_FAILED',
      'GUEST_PANICKED',
    ])
    expect(errors[0]?.message).toContain('for the file /tmp/never to exist')
    await trace
    await vm.powerCut()
    await vm.start()
  })

  test('an OOM kill ends a wait, but not the guest', async ({ vm }) => {
    const waiting = rejection(vm.waitFor.file('/tmp/never'))
    await sleep(300)
    await vm.ssh`echo '<0>Out of memory: Killed process 77 (hog)' >/dev/kmsg`
    expect(await waiting).toMatchObject({ code: 'GUEST_FAILED' })
    await vm.waitFor.file('/etc/passwd')
  })
})
