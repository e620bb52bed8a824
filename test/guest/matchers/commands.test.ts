import { describe } from 'vitest'
import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test.override({ vmScope: 'file' })

describe('toSucceed', () => {
  test('passes for exit code 0', async ({ vm }) => {
    await expect(vm.ssh`true`).toSucceed()
    await expect(vm.exec('true')).toSucceed()
    await expect(await vm.ssh`true`).toSucceed()
    await expect(vm.ssh`false`).not.toSucceed()
    await expect(vm.ssh('false', { reject: false })).not.toSucceed()
  })

  test('that fails shows both streams', async ({ vm }) => {
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

  test('fails for a command that does not end, with .not too', async ({ vm }) => {
    const message = await matcherMessage(expect(vm.ssh('sleep 30', { timeout: 200 })).not.toSucceed())
    expect(message).toMatchInlineSnapshot(`
      "expect(command).not.toSucceed() failed after TIME

        Expected: not exit code 0
        Received: the command \`sleep 30\` did not end within TIME"
    `)
  })
})

describe('toFailWith', () => {
  test('passes for the exit code or the signal', async ({ vm }) => {
    await expect(vm.ssh`exit 3`).toFailWith(3)
    await expect(vm.ssh`exit 3`).not.toFailWith(4)
    await expect(vm.ssh('exit 3', { reject: false })).toFailWith(3)
  })

  test('that fails says how it ended', async ({ vm }) => {
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
  test('looks for a text or a pattern in what was printed', async ({ vm }) => {
    await expect(vm.ssh`uname -s`).toPrint('Linux')
    await expect(vm.ssh`uname -s`).toPrint(/^Lin/)
    await expect(vm.ssh`uname -s`).not.toPrint('Windows')
    await expect(vm.ssh`echo err >&2`).toPrint('err', { stream: 'stderr' })
    await expect(vm.ssh('echo text; false', { reject: false })).toPrint('text')
  })

  test('of a function waits until it prints it', async ({ vm }) => {
    await vm.ssh`(sleep 0.5; echo done > /tmp/state) >/dev/null 2>&1 &`
    await expect(() => vm.ssh`cat /tmp/state`).toPrint('done')
  })

  test('that fails shows what was printed', async ({ vm }) => {
    expect(await matcherMessage(expect(vm.ssh`echo some text`).toPrint(/other/))).toMatchInlineSnapshot(`
      "expect(command).toPrint(/other/) failed after TIME

        Expected: /other/ in its stdout
        Received: what is under stdout below

      Command:
        | echo some text

      stdout:
        | some text"
    `)
  })

  test('fails for a command that failed, with .not too', async ({ vm }) => {
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
  test('finds what an earlier run has kept, also where it takes a while', async ({ vm }) => {
    await expect(vm.ssh`echo $(date +%T) $$ started; ls /etc/acpi`).toMatchOutput({
      mask: [/\d+ (?=started)/],
    })
    await expect(vm.ssh`echo err >&2`).toMatchOutput({ stream: 'stderr' })
    await vm.ssh`(sleep 0.5; echo done > /tmp/kept) >/dev/null 2>&1 &`
    await expect(() => vm.ssh`cat /tmp/kept`).toMatchOutput({ timeout: '20s' })
  })

  test('fails for a command that failed, and has no .not', async ({ vm }) => {
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
      "expect(command).toMatchOutput() was used in a way that has no meaning.
        Expected: a call in a test, without \`.not\`
        Got:      .not
      Fix: it compares with what an earlier run of the same test has kept."
    `)
  })
})

describe('toEventuallySucceed', () => {
  test('runs the command until it succeeds', async ({ vm }) => {
    let runs = 0
    const run = () => {
      runs++
      return vm.ssh`test -e /tmp/there`
    }
    await vm.ssh`(sleep 0.5; touch /tmp/there) >/dev/null 2>&1 &`
    await expect(run).toEventuallySucceed({ interval: 50 })
    expect(runs).toBeGreaterThan(1)
  })

  test('that fails says what it tried', async ({ vm }) => {
    const trying = expect(() => vm.ssh`echo not yet >&2; exit 2`).toEventuallySucceed({
      timeout: 3000,
      interval: 1000,
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

  test('ends a command that hangs', async ({ vm }) => {
    const trying = expect(() => vm.ssh`sleep 30`).toEventuallySucceed({ timeout: 500 })
    expect(await matcherMessage(trying)).toContain('Received: no end of the command within TIME')
  })

  test('is refused where it has no meaning', async ({ vm }) => {
    // What a JavaScript author may write: a result of a command, where a function belongs.
    const command = (await vm.ssh`true`) as never as () => ReturnType<typeof vm.ssh>
    expect(await matcherMessage(expect(command).toEventuallySucceed())).toMatchInlineSnapshot(`
      "expect(command).toEventuallySucceed() was used in a way that has no meaning.
        Expected: a function that runs the command, and no \`.not\`
        Got:      a value of type object
      Fix: write expect(() => vm.ssh\`…\`).toEventuallySucceed(); for a command that has to fail there is toFailWith()."
    `)
    expect(
      await matcherMessage(expect(5 as never as ReturnType<typeof vm.ssh>).toSucceed()),
    ).toMatchInlineSnapshot(`
      "expect(command).toSucceed() was used on something that is not a command.
        Expected: what vm.ssh or vm.exec gave
        Got:      a value of type number
      Fix: write expect(vm.ssh\`…\`), without \`() =>\` in front of it."
    `)
  })
})

test('a panic ends each of them at once', async ({ launch }) => {
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

test('an OOM kill ends a matcher that waits for a command, but not one whose command it ends', async ({
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
    "expect(command).toEventuallySucceed() failed at once, after TIME: the guest is in trouble

      Expected: exit code 0
      Received: The guest ran out of memory and killed a process
                [TIME] Out of memory: Killed …

    Call log:
      | ended after TIME"
  `)
  for (const message of others) expect(message).toContain('the guest is in trouble')
})
