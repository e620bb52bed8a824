import { describe } from 'vitest'
import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test.override({ vmScope: 'file' })

describe('toSucceed', () => {
  test('toSucceed passes for exit code 0', async ({ vm }) => {
    await expect(vm.ssh`true`).toSucceed()
    await expect(vm.exec('true')).toSucceed()
    await expect(await vm.ssh`true`).toSucceed()
    await expect(vm.ssh`false`).not.toSucceed()
    await expect(vm.ssh('false', { reject: false })).not.toSucceed()
  })

  test('a failed toSucceed reports stdout and stderr', async ({ vm }) => {
    const message = await matcherMessage(expect(vm.ssh`echo out; echo err >&2; exit 3`).toSucceed())
    expect(message).toMatchInlineSnapshot(`
      "expect(command).toSucceed() failed after TIME

        Expected: exit code 0
        Received: exit code 3

      Command:
        | echo out; echo err >&2; exit 3

      stdout:
        | out

      stderr:
        | err"
    `)
    expect(await matcherMessage(expect(vm.ssh`true`).not.toSucceed())).toMatchInlineSnapshot(`
      "expect(command).not.toSucceed() failed after TIME

        Expected: not exit code 0
        Received: exit code 0

      Command:
        | true"
    `)
  })

  test('toSucceed and its .not fail for a command that does not end', async ({ vm }) => {
    const message = await matcherMessage(expect(vm.ssh('sleep 30', { timeout: 200 })).not.toSucceed())
    expect(message).toMatchInlineSnapshot(`
      "expect(command).not.toSucceed() failed after TIME

        Expected: not exit code 0
        Received: The command \`sleep 30\` did not end within TIME."
    `)
  })
})

describe('toFailWith', () => {
  test('toFailWith passes for the exit code', async ({ vm }) => {
    await expect(vm.ssh`exit 3`).toFailWith(3)
    await expect(vm.ssh`exit 3`).not.toFailWith(4)
    await expect(vm.ssh('exit 3', { reject: false })).toFailWith(3)
  })

  test('a failed toFailWith reports the exit code', async ({ vm }) => {
    expect(await matcherMessage(expect(vm.ssh`echo text; exit 4`).toFailWith(3))).toMatchInlineSnapshot(`
      "expect(command).toFailWith(3) failed after TIME

        Expected: exit code 3
        Received: exit code 4

      Command:
        | echo text; exit 4

      stdout:
        | text"
    `)
    expect(await matcherMessage(expect(vm.ssh`true`).toFailWith(1))).toContain('Received: exit code 0')
  })
})

describe('toPrint', () => {
  test('toPrint finds text or a pattern in the output', async ({ vm }) => {
    await expect(vm.ssh`uname -s`).toPrint('Linux')
    await expect(vm.ssh`uname -s`).toPrint(/^Lin/)
    await expect(vm.ssh`uname -s`).not.toPrint('Windows')
    await expect(vm.ssh`echo err >&2`).toPrint('err', { stream: 'stderr' })
    await expect(vm.ssh('echo text; false', { reject: false })).toPrint('text')
  })

  test('toPrint repeats a function until it prints the text', async ({ vm }) => {
    await vm.ssh`(sleep 0.5; echo done > /tmp/state) >/dev/null 2>&1 &`
    await expect(() => vm.ssh`cat /tmp/state`).toPrint('done')
  })

  test('a failed toPrint reports the output', async ({ vm }) => {
    expect(await matcherMessage(expect(vm.ssh`echo some text`).toPrint(/other/))).toMatchInlineSnapshot(`
      "expect(command).toPrint(/other/) failed after TIME

        Expected: /other/ in its stdout
        Received: the stdout below

      Command:
        | echo some text

      stdout:
        | some text"
    `)
  })

  test('toPrint and its .not fail for a failed command', async ({ vm }) => {
    expect(
      await matcherMessage(expect(vm.ssh`echo text; exit 1`).not.toPrint('word')),
    ).toMatchInlineSnapshot(`
      "expect(command).not.toPrint('word') failed after TIME

        Expected: not 'word' in its stdout
        Received: exit code 1

      Command:
        | echo text; exit 1

      stdout:
        | text"
    `)
  })
})

describe('toMatchOutput', () => {
  test('toMatchOutput waits for the output of the snapshot', async ({ vm }) => {
    await expect(vm.ssh`echo $(date +%T) $$ started; ls /etc/acpi`).toMatchOutput({
      mask: [/\d+ (?=started)/],
    })
    await expect(vm.ssh`echo err >&2`).toMatchOutput({ stream: 'stderr' })
    await vm.ssh`(sleep 0.5; echo done > /tmp/kept) >/dev/null 2>&1 &`
    await expect(() => vm.ssh`cat /tmp/kept`).toMatchOutput({ timeout: '20s' })
  })

  test('toMatchOutput fails for a failed command, and rejects .not', async ({ vm }) => {
    expect(await matcherMessage(expect(vm.ssh`echo text; exit 1`).toMatchOutput())).toMatchInlineSnapshot(`
      "expect(command).toMatchOutput() failed after TIME

        Expected: the stdout of the snapshot
        Received: exit code 1

      Command:
        | echo text; exit 1

      stdout:
        | text"
    `)
    expect(await matcherMessage(expect(vm.ssh`true`).not.toMatchOutput())).toMatchInlineSnapshot(`
      "expect(command).toMatchOutput() was used incorrectly.
        Expected: a call in a test, without \`.not\`
        Got:      .not
      Fix: Call it in a test without \`.not\`: it compares with the snapshot of an earlier run of the same test."
    `)
  })
})

describe('toEventuallySucceed', () => {
  test('toEventuallySucceed repeats the command until it succeeds', async ({ vm }) => {
    let runs = 0
    const run = () => {
      runs++
      return vm.ssh`test -e /tmp/there`
    }
    await vm.ssh`(sleep 0.5; touch /tmp/there) >/dev/null 2>&1 &`
    await expect(run).toEventuallySucceed({ interval: 50 })
    expect(runs).toBeGreaterThan(1)
  })

  test('a failed toEventuallySucceed reports its attempts', async ({ vm }) => {
    const trying = expect(() => vm.ssh`echo not yet >&2; exit 2`).toEventuallySucceed({
      timeout: 10_000,
      interval: 3000,
    })
    const message = (await matcherMessage(trying)).replace(
      /exit code 2(?: \(\d+ times\))?(?=\n {2}\| ended)/,
      'exit code 2 (N times)',
    )
    expect(message).toMatchInlineSnapshot(`
      "expect(command).toEventuallySucceed() failed after TIME

        Expected: exit code 0
        Received: exit code 2

      Call log:
        | after TIME: exit code 2 (N times)
        | ended after TIME

      Command:
        | echo not yet >&2; exit 2

      stderr:
        | not yet"
    `)
  })

  test('toEventuallySucceed ends a hanging command', async ({ vm }) => {
    const trying = expect(() => vm.ssh`sleep 30`).toEventuallySucceed({ timeout: 500 })
    expect(await matcherMessage(trying)).toContain('Received: the command did not end within TIME')
  })

  test('command matchers reject unsupported values', async ({ vm }) => {
    // A JavaScript author may pass the result of a command instead of a function.
    const command = (await vm.ssh`true`) as never as () => ReturnType<typeof vm.ssh>
    expect(await matcherMessage(expect(command).toEventuallySucceed())).toMatchInlineSnapshot(`
      "expect(command).toEventuallySucceed() was used incorrectly.
        Expected: a function that runs the command, without \`.not\`
        Got:      a value of type object
      Fix: Write expect(() => vm.ssh\`…\`).toEventuallySucceed(), or use toFailWith() for a command that must fail."
    `)
    expect(
      await matcherMessage(expect(5 as never as ReturnType<typeof vm.ssh>).toSucceed()),
    ).toMatchInlineSnapshot(`
      "expect(command).toSucceed() does not support the received value.
        Expected: a command of vm.ssh or vm.exec, or its result
        Got:      a value of type number
      Fix: Write expect(vm.ssh\`…\`), without \`() =>\`."
    `)
  })
})

test('a panic ends all command matchers at once', async ({ launch }) => {
  const vm = await launch()
  const waiting = [
    expect(vm.ssh`sleep 120`).toSucceed(),
    expect(vm.ssh`sleep 120`).not.toSucceed(),
    expect(vm.ssh`sleep 120`).toFailWith(1),
    expect(vm.ssh`sleep 120`).toPrint('never'),
    expect(vm.ssh`sleep 120`).toMatchOutput(),
    expect(() => vm.ssh`false`).toEventuallySucceed({ timeout: '2m' }),
  ].map(matcherMessage)
  await vm.ssh`sleep 1`
  const startedAt = performance.now()
  vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
  const messages = await Promise.all(waiting)
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  expect(messages.map((message) => message.split('\n', 1)[0])).toMatchInlineSnapshot(`
    [
      "expect(command).toSucceed() failed at once, after TIME: the guest is lost",
      "expect(command).not.toSucceed() failed at once, after TIME: the guest is lost",
      "expect(command).toFailWith(1) failed at once, after TIME: the guest is lost",
      "expect(command).toPrint('never') failed at once, after TIME: the guest is lost",
      "expect(command).toMatchOutput() failed at once, after TIME: the guest is lost",
      "expect(command).toEventuallySucceed() failed at once, after TIME: the guest is lost",
    ]
  `)
  for (const message of messages) expect(message).toContain("Received: The guest's kernel panicked")
})

test('an OOM kill ends a matcher that waits for a command, unless the killed process is that command', async ({
  vm,
}) => {
  const waiting = [
    expect(vm.ssh`sleep 120`).toSucceed(),
    expect(() => vm.ssh`test -e /tmp/never`).toEventuallySucceed({ timeout: '2m' }),
    expect(vm.exec('sleep 120')).toPrint('never'),
  ].map(matcherMessage)
  await expect(vm.ssh`tail /dev/zero`).toFailWith('SIGKILL')
  const [, eventually, ...others] = await Promise.all(waiting)
  expect(
    eventually?.replace(/(Call log:\n)(?: {2}\|.*\n)+/, '$1').replace(/Killed process.*/, 'Killed …'),
  ).toMatchInlineSnapshot(`
    "expect(command).toEventuallySucceed() failed at once, after TIME: the guest reported a failure

      Expected: exit code 0
      Received: The guest ran out of memory and killed a process
                [TIME] Out of memory: Killed …

    Call log:
      | ended after TIME"
  `)
  for (const message of others) expect(message).toContain('the guest reported a failure')
})
