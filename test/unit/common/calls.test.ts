import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { CallPromise } from '../../../src/common/calls/call-promise.js'
import { Calls, findNotAwaited, locateErrors, runUserCode } from '../../../src/common/calls/calls.js'
import { traceCalls } from '../../../src/common/calls/trace-calls.js'
import { createDeferred } from '../../../src/common/deferred.js'
import { type VMError, vmError } from '../../../src/errors.js'

const failure = () => vmError('WAIT_TIMEOUT', { summary: 'Timed out.', hint: 'Wait longer.' })
const FILE = 'test/unit/common/calls.test.ts'

let lines: string[]
let calls: Calls

beforeEach(() => {
  lines = []
  calls = new Calls('the guest')
  calls.start({ log: (line) => lines.push(line) })
})

afterEach(() => void vi.useRealTimers())

/** Calls a function of the public API. */
function call<T>(work: () => T): T {
  return calls.run({ describe: () => 'vm.work()', entry: call }, work)
}

/** Returns the file of the first frame of an error. */
const firstFrame = (error: unknown) =>
  /at .*?([^/( ]+\.test\.ts|[^/ ]+\.m?[jt]s):/.exec(String((error as Error).stack))?.[1]

test('the stack of a rejection starts at the line of the call, even after asynchronous work', async () => {
  const error = await call(async () => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    throw failure()
  }).catch((error: unknown) => error)
  expect((error as Error).stack).toMatch(
    /^GuestError: Timed out\.\nFix: Wait longer\.\n {4}at .*calls\.test\.ts/,
  )
  expect((error as Error).stack).not.toMatch(/src\/common|node:/)
})

test('the stack of an error that is thrown synchronously starts at the line of the call', () => {
  const throws = () =>
    locateErrors(throws, () => {
      throw failure()
    })
  try {
    throws()
    expect.unreachable()
  } catch (error) {
    expect(firstFrame(error)).toBe('calls.test.ts')
  }
})

test('an error that two calls share gets the line of each call', async () => {
  const shared = failure()
  const fail = () => Promise.reject(shared)
  const first = (await call(fail).catch((error: unknown) => error)) as VMError
  const second = (await call(fail).catch((error: unknown) => error)) as VMError
  const line = (error: VMError) => Number(/calls\.test\.ts:(\d+)/.exec(error.stack ?? '')?.[1])
  expect(line(second)).toBe(line(first) + 1)
  expect(second).toMatchObject({ code: 'WAIT_TIMEOUT', message: first.message })
})

test('an error of a call within user code keeps the line of the inner call', async () => {
  const inner = () => call(() => Promise.reject(failure()))
  const outer = call(async () => runUserCode(inner))
  const error = (await outer.catch((error: unknown) => error)) as Error
  expect(error.stack?.split('\n')[2]).toContain('at inner')
})

test.each<[string, (promise: Promise<unknown>) => unknown]>([
  ['await', async (promise) => await promise.catch(() => {})],
  ['Promise.all()', (promise) => Promise.all([promise]).catch(() => {})],
  ['Promise.race()', (promise) => Promise.race([promise, undefined])],
  ['catch()', (promise) => promise.catch(() => {})],
  ['expect().rejects', (promise) => expect(promise).rejects.toThrow('Timed out')],
  ['being returned by an async function', (promise) => (async () => promise)().catch(() => {})],
])('a call that fails is handled by %s', async (_, handle) => {
  await handle(call(() => Promise.reject(failure())))
  expect(findNotAwaited([calls], 'the test ended')).toBeUndefined()
})

test('calls that are not awaited are listed with their lines, unless they have succeeded', async () => {
  call(async () => 'done')
  call(() => Promise.reject(failure()))
  call(() => new Promise(() => {}))
  await new Promise((resolve) => setTimeout(resolve, 5))
  const error = findNotAwaited([calls], 'the test ended')
  expect(error?.code).toBe('NOT_AWAITED')
  expect(error?.message.replace(/\d+( m?s|:)/g, 'N$1')).toBe(
    [
      '2 calls were not awaited when the test ended.',
      '',
      'Without `await`:',
      '  | vm.work(), failed: Timed out.',
      `  |     at ${FILE}:N:3`,
      '  | vm.work(), running for N ms',
      `  |     at ${FILE}:N:3`,
      '',
      'Fix: Write `await` before each of these calls. If the result does not matter, add `.catch(() => {})`.',
    ].join('\n'),
  )
  expect(firstFrame(error)).toBe('calls.test.ts')
  expect(findNotAwaited([calls], 'the test ended')).toBeUndefined()
})

test('the end of a guest reports calls that were not awaited, and their later rejection is silent', async () => {
  const { promise, reject } = createDeferred<void>()
  call(() => promise)
  expect(() => calls.close()).toThrow('A call was not awaited when the guest was disposed of.')
  // An unhandled rejection would fail this file.
  reject(failure())
  await new Promise((resolve) => setTimeout(resolve, 5))
})

test('a call that runs for 30 s is reported once, with its line', async () => {
  vi.useFakeTimers()
  const { promise, resolve } = createDeferred<void>()
  const slow = call(() => promise)
  const quick = call(async () => {})
  await quick
  vi.advanceTimersByTime(29_000)
  expect(lines).toEqual([])
  vi.advanceTimersByTime(120_000)
  expect(lines).toEqual([
    expect.stringMatching(
      /^still waiting: vm\.work\(\), running for 30(\.\d)? s at .*calls\.test\.ts:\d+:\d+$/,
    ),
  ])
  resolve()
  await slow
  expect(vi.getTimerCount()).toBe(0)
})

test('nothing is followed before the guest belongs to a test, and within other calls', async () => {
  const unused = new Calls(undefined)
  expect(unused.run({ describe: () => '', entry: call }, async () => 1)).not.toBeInstanceOf(CallPromise)
  await call(async () => expect(call(async () => 1)).not.toBeInstanceOf(CallPromise))
  expect(CallPromise.ownerOf(call(async () => 1))).toBe('the guest')
  expect(call(async () => 1).then(() => 1)).not.toBeInstanceOf(CallPromise)
})

test('passwords in options, and typed text, are not part of the description of a call', () => {
  class Console {
    static {
      traceCalls(Console, 'vm.serial', ['login', 'type', 'waitFor'])
    }
    calls: Calls | undefined = calls
    async login(_: object) {
      throw failure()
    }
    async type(_: string) {
      throw failure()
    }
    async waitFor(_: RegExp, __?: object) {
      throw failure()
    }
  }
  const serial = new Console()
  serial.login({ password: 'secret' })
  serial.type('secret')
  serial.waitFor(/login: $/, { timeout: 5 })
  const { message = '' } = findNotAwaited([calls], 'the test ended') ?? {}
  expect(message.match(/vm\.serial\S.*(?=,)/g)).toEqual([
    'vm.serial.login(…)',
    'vm.serial.type(…)',
    'vm.serial.waitFor(/login: $/, …)',
  ])
})

test('a frozen error and causes in a circle reject the call like other errors', async () => {
  const frozen = Object.freeze(new Error('frozen'))
  const circle = vmError('WAIT_TIMEOUT', { summary: 'Timed out.', hint: 'Wait longer.', cause: frozen })
  const first = new Error('first')
  first.cause = new Error('second', { cause: first })
  const rejected = (error: unknown) => call(() => Promise.reject(error)).catch((found: unknown) => found)
  expect(await rejected(frozen)).toBe(frozen)
  expect(await rejected(circle)).toMatchObject({ code: 'WAIT_TIMEOUT' })
  expect(
    await rejected(vmError('WAIT_TIMEOUT', { summary: 'Timed out.', hint: 'Wait longer.', cause: first })),
  ).toMatchObject({ code: 'WAIT_TIMEOUT', cause: { message: 'first' } })
})
