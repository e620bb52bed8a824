import { describe } from 'vitest'
import type { VM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test.override({ vmScope: 'file' })

const print = (vm: VM, text: string) => vm.ssh`printf ${text} >/dev/ttyS0`

/** Prints after a delay, so that a matcher has to wait. */
const printLater = (vm: VM, text: string) => vm.ssh`(sleep 0.3; printf ${text} >/dev/ttyS0) >/dev/null 2>&1 &`

describe('toSee', () => {
  test('toSee finds earlier output, and waits for later output', async ({ vm }) => {
    await print(vm, 'seen: at once\n')
    await expect(vm.serial).toSee('seen: at once')
    await printLater(vm, 'seen: later\n')
    await expect(vm.serial).toSee(/^seen: (later)$/)
  })

  test('toSee with `after` ignores earlier lines', async ({ vm }) => {
    await print(vm, 'old line\n')
    await expect(vm.serial).toSee('old line')
    const mark = vm.serial.mark()
    await expect(vm.serial).not.toSee('old line', { after: mark })
    await printLater(vm, 'old line\n')
    await expect(vm.serial).toSee('old line', { after: mark })
  })

  test('toSee counts matches', async ({ vm }) => {
    await print(vm, 'tick\ntick\n')
    await printLater(vm, 'tick\n')
    await expect(vm.serial).toSee('tick', { times: 3 })
    await expect(vm.serial).not.toSee('tick', { times: 4 })
  })

  test('a failed toSee reports the last output', async ({ vm }) => {
    const after = vm.serial.mark()
    await print(vm, 'almost\n')
    await expect(vm.serial).toSee('almost', { after })
    expect(
      await matcherMessage(expect(vm.serial).toSee(/never/, { after, timeout: 300 })),
    ).toMatchInlineSnapshot(`
      "expect(vm.serial).toSee(/never/, { after: mark, timeout: 300 }) failed after TIME

        Expected: /never/, after the mark
        Received: other lines, the last TIME ago

      Serial console, last lines:
        | LINES

      Fix: Compare the pattern with the last lines: the guest has stopped printing."
    `)
  })

  test('a failed toSee with `times` reports the number of matches', async ({ vm }) => {
    const after = vm.serial.mark()
    await print(vm, 'tock 1\ntock 2\n')
    const message = await matcherMessage(
      expect(vm.serial).toSee(/tock \d/, { after, times: 3, timeout: '300ms' }),
    )
    expect(message).toMatchInlineSnapshot(`
      "expect(vm.serial).toSee(/tock \\d/, { after: mark, times: 3, timeout: '300ms' }) failed after TIME

        Expected: /tock \\d/, 3 times, after the mark
        Received: 2 of 3 times

      Call log:
        | tock 1
        | tock 2

      Serial console, last lines:
        | LINES

      Fix: Compare the pattern with the last lines: the guest has stopped printing."
    `)
  })

  test('.not.toSee fails for printed text', async ({ vm }) => {
    await print(vm, 'unwanted: here\n')
    await expect(vm.serial).toSee('unwanted: here')
    expect(await matcherMessage(expect(vm.serial).not.toSee(/unwanted/))).toMatchInlineSnapshot(`
      "expect(vm.serial).not.toSee(/unwanted/) failed after TIME

        Expected: no /unwanted/
        Received: unwanted: here

      Serial console, last lines:
        | LINES"
    `)
  })

  test('.not.toSee with a timeout watches for that time', async ({ vm }) => {
    const after = vm.serial.mark()
    await printLater(vm, 'too late\n')
    const message = await matcherMessage(expect(vm.serial).not.toSee('too late', { after, timeout: '10s' }))
    expect(message).toContain('Received: too late')
  })
})

describe('toSeeInOrder', () => {
  test('toSeeInOrder finds each pattern after the previous one', async ({ vm }) => {
    await print(vm, 'begin\nmiddle\n')
    await printLater(vm, 'end\n')
    await expect(vm.serial).toSeeInOrder(['begin', /^middle$/, 'end'])
  })

  test('a failed toSeeInOrder reports the first missing pattern', async ({ vm }) => {
    const after = vm.serial.mark()
    await print(vm, 'two\none\n')
    await expect(vm.serial).toSee('one\n', { after })
    const seeing = expect(vm.serial).toSeeInOrder(['one', 'two'], { after, timeout: 300 })
    expect(await matcherMessage(seeing)).toMatchInlineSnapshot(`
      "expect(vm.serial).toSeeInOrder(['one', 'two'], { after: mark, timeout: 300 }) failed after TIME

        Expected: 'one', then 'two', after the mark
        Received: the first 1 of 2, but not 'two'

      Call log:
        | 'one' in: one

      Serial console, last lines:
        | LINES

      Fix: Compare the pattern with the last lines: the guest has stopped printing."
    `)
  })
})

describe('toStayQuiet', () => {
  test('toStayQuiet passes if nothing is printed', async ({ vm }) => {
    await expect(vm.serial).toStayQuiet('300ms')
  })

  test('toStayQuiet fails at the first output, and reports it', async ({ vm }) => {
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

  test('.not.toStayQuiet requires output', async ({ vm }) => {
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

test('an OOM kill ends a wait for the console, unless it waits for the OOM kill itself', async ({ vm }) => {
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
    "expect(vm.serial).toSee('never', { after: mark, timeout: '2m' }) failed at once, after TIME: the guest reported a failure

      Expected: 'never', after the mark
      Received: The guest ran out of memory and killed a process
                [TIME] Out of memory: Killed …

    Serial console, last lines:
      | LINES"
  `)
  expect(inOrder).toContain('failed at once, after TIME: the guest reported a failure')
  // The guest continues to run, so later waits work.
  await print(vm, 'goes on\n')
  await expect(vm.serial).toSee('goes on', { after })
})

test('console matchers reject values that are not a console', async () => {
  const message = await matcherMessage(expect(JSON.parse('{}')).toSee('text'))
  expect(message).toMatchInlineSnapshot(`
    "expect(vm.serial).toSee('text') does not support the received value.
      Expected: vm.serial
      Got:      a value of type object
    Fix: Write expect(vm.serial)."
  `)
})

test('a panic ends all console matchers at once', async ({ launch }) => {
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
      | LINES"
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
