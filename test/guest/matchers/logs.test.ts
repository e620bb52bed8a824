import { setTimeout as sleep } from 'node:timers/promises'
import { checks, type VM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'
import { rejection } from '../../support/messages.js'

test.override({ vmScope: 'file' })

/** Masks the call log, which differs from run to run. */
async function message(assertion: Promise<unknown>): Promise<string> {
  return (await matcherMessage(assertion)).replace(/(Call log:\n) {2}\|.*(?:\n {2}\|.*)*/, '$1  | ATTEMPTS')
}

/** Writes a message to the kernel log. Levels: 3 err, 4 warning, 6 info. */
const log = (vm: VM, level: number, text: string) => vm.ssh`echo ${`<${level}>${text}`} >/dev/kmsg`

test('toHaveCleanKernelLog passes for an unmodified guest, and fails at once after an error', async ({
  vm,
}) => {
  await expect(vm).toHaveCleanKernelLog()
  const since = await vm.markLogs()
  await log(vm, 4, 'demo: slow')
  await log(vm, 3, 'demo: \u001b[31mbroken')
  await log(vm, 6, 'demo: continued')
  expect(await message(expect(vm).toHaveCleanKernelLog())).toMatchInlineSnapshot(`
    "expect(vm).toHaveCleanKernelLog() failed at once, after TIME: the kernel log has 1 such message

      Expected: the kernel log to contain no messages of level err or worse, and no oops, warning, hung task or OOM kill
      Received: [TIME] err: demo: \\u001b[31mbroken

    Call log:
      | ATTEMPTS

    Kernel log, from the first such message:
      | [TIME] err: demo: \\u001b[31mbroken
      | [TIME] info: demo: continued

    Serial console, last lines:
      | LINES"
  `)
  await expect(vm).not.toHaveCleanKernelLog({ since })
  await expect(vm).toHaveCleanKernelLog({ since, level: 'crit' })
  await expect(vm).toHaveCleanKernelLog({ allow: ['other', /^demo: .*broken$/] })
  expect(await message(expect(vm).toHaveCleanKernelLog({ since, level: 'warning' }))).toContain(
    `failed at once, after TIME: the kernel log has 2 such messages`,
  )
  await expect(vm).toHaveCleanKernelLog({ since: await vm.markLogs() })
})

test('toHaveCleanKernelLog fails for defects that the kernel logs as warnings or information', async ({
  vm,
}) => {
  const defects = [
    'WARNING: CPU: 0 PID: 1 at kernel/panic.c:1 demo+0x1/0x2',
    'WARNING: possible circular locking dependency detected',
    'demo invoked oom-killer: gfp_mask=0xcc0, order=0',
    'INFO: task demo:12 blocked for more than 120 seconds.',
    'rcu: INFO: rcu_sched self-detected stall on CPU',
  ]
  const since = await vm.markLogs()
  for (const text of ['Warning: demo is old', 'demo[1]: segfault at 0', 'BUGS: none']) await log(vm, 6, text)
  await expect(vm).toHaveCleanKernelLog({ since })
  for (const defect of defects) await log(vm, 6, defect)
  const failure = await message(expect(vm).toHaveCleanKernelLog({ since }))
  expect(failure).toContain(`the kernel log has ${defects.length} such messages`)
  for (const defect of defects) expect(failure).toContain(`info: ${defect}`)
})

test('vm.always() fails the command after which the kernel log is no longer clean', async ({ vm }) => {
  const since = await vm.markLogs()
  const invariant = await vm.always('the kernel is fine', checks.kernelLogIsClean({ since }))
  await vm.ssh`true`
  const error = await rejection(log(vm, 3, 'demo: failed'))
  invariant.stop()
  expect(error).toMatchObject({ code: 'INVARIANT_BROKEN' })
  expect(error.message).toMatch(
    /detected after `echo '<3>demo: failed' >\/dev\/kmsg`[\s\S]*err: demo: failed/,
  )
})

test('toHaveLogged waits for a message, and matches its text, level and time', async ({ vm }) => {
  const since = await vm.markLogs()
  await vm.ssh`(sleep 0.5; echo '<4>demo: ready on port 80' >/dev/kmsg) >/dev/null 2>&1 &`
  await expect(vm).toHaveLogged(/^demo: ready on port \d+$/, { since })
  await expect(vm).toHaveLogged('ready on', { level: 'warning', within: '1m' })
  await expect(vm).not.toHaveLogged('ready on', { level: 'err' })
  await expect(vm).not.toHaveLogged('ready on', { since: await vm.markLogs() })
  await sleep(1500)
  await expect(vm).not.toHaveLogged('ready on', { within: '1s' })
  await expect(vm).toHaveLogged('Linux version')
  expect(await vm.waitFor.log(/ready on port (\d+)/)).toEqual({
    message: 'demo: ready on port 80',
    level: 'warning',
    seconds: expect.any(Number),
    source: 'kernel',
  })
  const failure = await message(expect(vm).toHaveLogged('never', { since, level: 'warning', timeout: '5s' }))
  // The kernel of a guest on a busy host may log that a timer was late.
  const ofTest = failure
    .replace(/\d+ messages/, 'N messages')
    .replace(/(the last is: ).*(?:hpet|clocksource).*/, '$1[TIME] warning: demo: ready on port PORT')
    .replace(/^ {2}\| .*(?:hpet|clocksource).*\n/gm, '')
  expect(ofTest).toMatchInlineSnapshot(`
    "expect(vm).toHaveLogged('never', { since, level: 'warning', timeout: '5s' }) failed after TIME

      Expected: the guest to have logged "never" at the level warning or worse after the mark
      Received: none of N messages; the last is: [TIME] warning: demo: ready on port PORT

    Call log:
      | ATTEMPTS

    Kernel log, last messages:
      | [TIME] warning: demo: ready on port PORT

    Serial console, last lines:
      | LINES"
  `)
})

test('.not.toHaveLogged checks once; with a timeout, it watches the log', async ({ vm }) => {
  const startedAt = performance.now()
  await expect(vm).not.toHaveLogged('demo: late')
  expect(performance.now() - startedAt).toBeLessThan(25_000)
  await vm.ssh`(sleep 0.5; echo 'demo: late' >/dev/kmsg) >/dev/null 2>&1 &`
  expect(await message(expect(vm).not.toHaveLogged('demo: late', { timeout: '1m' }))).toMatchInlineSnapshot(`
    "expect(vm).not.toHaveLogged('demo: late', { timeout: '1m' }) failed after TIME

      Expected: the guest not to have logged "demo: late"
      Received: [TIME] warning: demo: late

    Call log:
      | ATTEMPTS

    Serial console, last lines:
      | LINES"
  `)
  expect(await message(expect(vm).not.toHaveLogged('demo: late'))).toContain(
    'not to have logged "demo: late"',
  )
  await expect(vm).not.toHaveLogged('demo: other', { timeout: '3s' })
})

test('after a reboot, all messages follow an earlier mark', async ({ launch }) => {
  const vm = await launch()
  await log(vm, 3, 'demo: before the reboot')
  const since = await vm.markLogs()
  await expect(vm).not.toHaveLogged('Linux version', { since })
  await vm.reboot()
  await expect(vm).toHaveLogged('Linux version', { since })
  await expect(vm).toHaveCleanKernelLog()
  await expect(vm).not.toHaveLogged('before the reboot')
})

test('checks of logs reject invalid options, and logs that do not exist', async ({ vm }) => {
  const invalid = { code: 'INVALID_OPTIONS' }
  // @ts-expect-error no such level
  const level = await rejection(expect(vm).toHaveLogged('x', { level: 'error' }))
  expect(level).toMatchObject({ ...invalid, message: expect.stringContaining("Use 'err'.") })
  // @ts-expect-error `info` is no problem
  await expect(expect(vm).toHaveCleanKernelLog({ level: 'info' })).rejects.toMatchObject(invalid)
  // @ts-expect-error the mark of the console is another one
  await expect(expect(vm).toHaveLogged('x', { since: vm.serial.mark() })).rejects.toMatchObject(invalid)
  // @ts-expect-error `await` is missing
  const promise = await rejection(expect(vm).toHaveLogged('x', { since: vm.markLogs() }))
  expect(promise).toMatchObject({ ...invalid, message: expect.stringContaining('Got:      a promise') })
  const noJournal = { code: 'WAIT_FAILED', message: expect.stringContaining('image with systemd') }
  await expect(expect(vm).toHaveLogged('x', { unit: 'demo' })).rejects.toMatchObject(noJournal)
  await expect(expect(vm).not.toHaveLogged('x', { unit: 'demo' })).rejects.toMatchObject(noJournal)
})
