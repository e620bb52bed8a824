import { describe } from 'vitest'
import type { VM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test.override({ vmScope: 'file' })

const print = (vm: VM, text: string) => vm.ssh`printf ${text} >/dev/ttyS0`

/** Prints after a moment, so that a matcher has to wait. */
const printLater = (vm: VM, text: string) => vm.ssh`(sleep 0.3; printf ${text} >/dev/ttyS0) >/dev/null 2>&1 &`

describe('toSee', () => {
  test('finds what has been printed, and waits for what has not', async ({ vm }) => {
    await print(vm, 'seen: at once\n')
    await expect(vm.serial).toSee('seen: at once')
    await printLater(vm, 'seen: later\n')
    await expect(vm.serial).toSee(/^seen: (later)$/)
  })

  test('takes no old line for a new one', async ({ vm }) => {
    await print(vm, 'old line\n')
    await expect(vm.serial).toSee('old line')
    const mark = vm.serial.mark()
    await expect(vm.serial).not.toSee('old line', { after: mark })
    await printLater(vm, 'old line\n')
    await expect(vm.serial).toSee('old line', { after: mark })
  })

  test('counts', async ({ vm }) => {
    await print(vm, 'tick\ntick\n')
    await printLater(vm, 'tick\n')
    await expect(vm.serial).toSee('tick', { times: 3 })
    await expect(vm.serial).not.toSee('tick', { times: 4 })
  })

  test('that fails says what there was', async ({ vm }) => {
    const after = vm.serial.mark()
    await print(vm, 'almost\n')
    await expect(vm.serial).toSee('almost', { after })
    expect(
      await matcherMessage(expect(vm.serial).toSee(/never/, { after, timeout: 300 })),
    ).toMatchInlineSnapshot(`
      "expect(vm.serial).toSee(/never/, { after: mark, timeout: 300 }) failed after TIME

        Expected: /never/, behind the mark
        Received: other lines, the last TIME ago

      Serial console, last lines:
        | LINES

      Whole log:
        | RUN/serial.log

      Fix: The guest has fallen silent: see the last lines, and compare the pattern with them."
    `)
  })

  test('that counts too few says how many', async ({ vm }) => {
    const after = vm.serial.mark()
    await print(vm, 'tock 1\ntock 2\n')
    const message = await matcherMessage(
      expect(vm.serial).toSee(/tock \d/, { after, times: 3, timeout: '300ms' }),
    )
    expect(message).toMatchInlineSnapshot(`
      "expect(vm.serial).toSee(/tock \\d/, { after: mark, times: 3, timeout: '300ms' }) failed after TIME

        Expected: /tock \\d/, 3 times, behind the mark
        Received: 2 of 3 times

      Call log:
        | tock 1
        | tock 2

      Serial console, last lines:
        | LINES

      Whole log:
        | RUN/serial.log

      Fix: The guest has fallen silent: see the last lines, and compare the pattern with them."
    `)
  })

  test('with .not fails when it sees it', async ({ vm }) => {
    await print(vm, 'unwanted: here\n')
    await expect(vm.serial).toSee('unwanted: here')
    expect(await matcherMessage(expect(vm.serial).not.toSee(/unwanted/))).toMatchInlineSnapshot(`
      "expect(vm.serial).not.toSee(/unwanted/) failed after TIME

        Expected: no /unwanted/
        Received: unwanted: here

      Serial console, last lines:
        | LINES

      Whole log:
        | RUN/serial.log"
    `)
  })

  test('with .not and a time watches for that long', async ({ vm }) => {
    const after = vm.serial.mark()
    await printLater(vm, 'too late\n')
    const message = await matcherMessage(expect(vm.serial).not.toSee('too late', { after, timeout: '10s' }))
    expect(message).toContain('Received: too late')
  })
})

describe('toSeeInOrder', () => {
  test('finds each behind the one before it', async ({ vm }) => {
    await print(vm, 'begin\nmiddle\n')
    await printLater(vm, 'end\n')
    await expect(vm.serial).toSeeInOrder(['begin', /^middle$/, 'end'])
  })

  test('that fails says how far it came', async ({ vm }) => {
    const after = vm.serial.mark()
    await print(vm, 'two\none\n')
    await expect(vm.serial).toSee('one\n', { after })
    const seeing = expect(vm.serial).toSeeInOrder(['one', 'two'], { after, timeout: 300 })
    expect(await matcherMessage(seeing)).toMatchInlineSnapshot(`
      "expect(vm.serial).toSeeInOrder(['one', 'two'], { after: mark, timeout: 300 }) failed after TIME

        Expected: 'one', then 'two', behind the mark
        Received: the first one, but then not 'two'

      Call log:
        | 'one' in: one

      Serial console, last lines:
        | LINES

      Whole log:
        | RUN/serial.log

      Fix: The guest has fallen silent: see the last lines, and compare the pattern with them."
    `)
  })
})

describe('toStayQuiet', () => {
  test('passes when nothing is printed', async ({ vm }) => {
    await expect(vm.serial).toStayQuiet('300ms')
  })

  test('that fails says what was printed, at once', async ({ vm }) => {
    await printLater(vm, 'a sound\n')
    const startedAt = performance.now()
    expect(await matcherMessage(expect(vm.serial).toStayQuiet('1m'))).toMatchInlineSnapshot(`
      "expect(vm.serial).toStayQuiet('1m') failed at once, after TIME: the guest printed something

        Expected: nothing printed for TIME
        Received: a sound

      Serial console, last lines:
        | LINES"
    `)
    expect(performance.now() - startedAt).toBeLessThan(20_000)
  })

  test('with .not wants something printed', async ({ vm }) => {
    await printLater(vm, 'a sound\n')
    const after = vm.serial.mark()
    await expect(vm.serial).not.toStayQuiet('30s')
    await expect(vm.serial).toSee('a sound\n', { after })
    expect(await matcherMessage(expect(vm.serial).not.toStayQuiet('200ms'))).toMatchInlineSnapshot(`
      "expect(vm.serial).not.toStayQuiet('200ms') failed after TIME

        Expected: something printed within TIME
        Received: nothing printed

      Serial console, last lines:
        | LINES"
    `)
  })
})

test('an OOM kill ends what waits for the console, but not what looks for it', async ({ vm }) => {
  const after = vm.serial.mark()
  const waiting = [
    matcherMessage(expect(vm.serial).toSee('never', { after, timeout: '2m' })),
    matcherMessage(expect(vm.serial).toSeeInOrder(['Out of memory', 'never'], { after, timeout: '2m' })),
  ]
  const seeing = expect(vm.serial).toSee(/Out of memory: Killed process \d+ \(tail\)/, { after })
  await expect(vm.ssh`tail /dev/zero`).toFailWith('SIGKILL')
  await seeing
  const [see, inOrder] = await Promise.all(waiting)
  expect(see?.replace(/Killed process.*/, 'Killed …')).toMatchInlineSnapshot(`
    "expect(vm.serial).toSee('never', { after: mark, timeout: '2m' }) failed at once, after TIME: the guest is in trouble

      Expected: 'never', behind the mark
      Received: The guest ran out of memory and killed a process
                [TIME] Out of memory: Killed …

    Serial console, last lines:
      | LINES

    Whole log:
      | RUN/serial.log"
  `)
  expect(inOrder).toContain('failed at once, after TIME: the guest is in trouble')
  // Later waits are of a guest that lives on.
  await print(vm, 'goes on\n')
  await expect(vm.serial).toSee('goes on', { after })
})

test('what is no console is refused', async () => {
  const message = await matcherMessage(expect(JSON.parse('{}')).toSee('text'))
  expect(message).toMatchInlineSnapshot(`
    "expect(vm.serial).toSee('text') was used on something that it is not for.
      Expected: vm.serial
      Got:      a value of type object
    Fix: write expect(vm.serial)."
  `)
})

test('a panic ends each of them at once', async ({ launch }) => {
  const vm = await launch()
  const { serial } = vm
  const after = serial.mark()
  const waiting = [
    expect(serial).toSee('never', { timeout: '2m' }),
    expect(serial).not.toSee('never', { timeout: '2m' }),
    expect(serial).toSeeInOrder(['Linux version', 'never'], { timeout: '2m' }),
  ].map(matcherMessage)
  const startedAt = performance.now()
  vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
  const [see, notSee, inOrder] = await Promise.all(waiting)
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  expect(see).toMatchInlineSnapshot(`
    "expect(vm.serial).toSee('never', { timeout: '2m' }) failed at once, after TIME: the guest is lost

      Expected: 'never'
      Received: The guest's kernel panicked
                [TIME] Kernel panic - not syncing: sysrq triggered crash

    Serial console, last lines:
      | LINES

    Whole log:
      | RUN/serial.log"
  `)
  expect([notSee, inOrder].map((message) => message?.split('\n', 1)[0])).toMatchInlineSnapshot(`
    [
      "expect(vm.serial).not.toSee('never', { timeout: '2m' }) failed at once, after TIME: the guest is lost",
      "expect(vm.serial).toSeeInOrder(['Linux version', 'never'], { timeout: '2m' }) failed at once, after TIME: the guest is lost",
    ]
  `)
  expect(await matcherMessage(expect(serial).toStayQuiet('1m'))).toMatchInlineSnapshot(`
    "expect(vm.serial).toStayQuiet('1m') failed at once, after TIME: the guest is lost

      Expected: nothing printed for TIME
      Received: The guest's kernel panicked
                [TIME] Kernel panic - not syncing: sysrq triggered crash

    Serial console, last lines:
      | LINES"
  `)
  await expect(serial).toSee(/Kernel panic/, { after })
})
