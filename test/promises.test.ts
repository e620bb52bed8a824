import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')

/**
 * Promises that cannot reject, each with the reason. Only these may be used with `void`: Biome reports unhandled promises, but
 * accepts `void`, although a rejection would end the process.
 */
const CANNOT_REJECT: Readonly<Record<string, string>> = {
  'src/budget/lease-files.ts: void server.close() }))': '`Server.close()` returns no promise',
  'src/cache/cache.ts: void sweepBuilds(root)': '`sweepBuilds()` catches all',
  'src/common/locks/mutex.ts: void before.then(() => released.resolve())': 'the deferred is only resolved',
  'src/vm/session/guest-limits.ts: void session.ended.then(stop)': '`Session.ended` never rejects',
  'src/vm/session/kvm-watch.ts: void session.process.exited.then(() => clearTimeout(timer))':
    '`QemuProcess.exited` never rejects',
  "src/vm/power/power.ts: void session.ended.then(() => this.access.close('the guest was powered off'))":
    '`Session.ended` never rejects',
  'src/vm/session/session.ts: void qemu.exited.then(() => machine.services.forwards.endCommands())':
    '`QemuProcess.exited` and `ForwardCommand.ended` never reject',
  'src/vm/session/session.ts: void qemu.exited.then((exit) => failed.reject(explainStartFailure(exit)))':
    '`QemuProcess.exited` never rejects',
  'src/vm/watch/stage-clock.ts: void this.#poll(), Math.max(1, Math.min(this.#rules.pollMs, this.#leftMs)))':
    'a poll reads files of /proc, and treats unreadable files as unknown',
  'src/vm/fork/fork.ts: void child.disposed.then(() => vm.forget(child.vm))': '`disposed` is only resolved',
  'src/warm/standby.ts: void guest.disposed.then(() => this.#onDisposed())': '`disposed` is only resolved',
  'src/warm/standby.ts: void this.#discard(other)': '`#discard()` catches all',
  'src/warm/standby.ts: void this.#discard(standby)': '`#discard()` catches all',
  'src/warm/standby.ts: void this.#discard(standby),': '`#discard()` catches all',
  'src/warm/standby.ts: void this.clear(), GRACE_MS)': '`#discard()` catches all',
}

const files = ['src', 'fixtures', 'images'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ name: join(folder, name), text: readFileSync(join(ROOT, folder, name), 'utf8') })),
)

/** Names of functions and methods that return a promise, according to their declarations. */
const asynchronous = new Set([
  ...files.flatMap(({ text }) =>
    [
      ...text.matchAll(/\basync (?:function )?(?:\*\s*)?([#\w]+)\s*[(<]/g),
      ...text.matchAll(/([#\w]+)(?:<[^>()]*>)?\([^()]*\): Promise</g),
    ].map((match) => match[1] as string),
  ),
  'then',
  'finally',
])

/** Returns the names of the calls of an expression in order, without calls in arguments. */
function callsOf(expression: string): string[] {
  const calls: string[] = []
  let depth = 0
  for (const [index, character] of [...expression].entries()) {
    if (character === '(' || character === '[' || character === '{') {
      const name = /([#\w]+)\??$/.exec(expression.slice(0, index))?.[1]
      if (depth === 0 && character === '(' && name !== undefined) calls.push(name)
      depth++
    } else if (/[)\]}]/.test(character)) {
      if (--depth < 0) break
    } else if (depth === 0 && /[\n,;]/.test(character) && !/^\s*[.?]/.test(expression.slice(index + 1))) break
  }
  return calls
}

test('`void` is used only with promises that cannot reject', () => {
  const found = files.flatMap(({ name, text }) =>
    [...text.matchAll(/(?<![:<|\w]\s*|Promise<)\bvoid (?=[\w#(])/g)].flatMap((match) => {
      const expression = text.slice(match.index + 5)
      const calls = callsOf(expression)
      // `write()` of a stream returns no promise.
      const isHandled = calls.includes('catch') || expression.startsWith('process.std')
      return !isHandled && calls.some((call) => asynchronous.has(call))
        ? [`${name}: void ${(expression.split('\n', 1)[0] as string).replace(/ *\/\/.*/, '')}`]
        : []
    }),
  )
  expect([...new Set(found)].sort()).toEqual(Object.keys(CANNOT_REJECT).sort())
})
