import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseDuration } from '../../../src/common/duration.js'
import { quoteWord } from '../../../src/common/process/shell-quote.js'
import { parseMemorySize } from '../../../src/common/units.js'
import { joinOption } from '../../../src/qemu/argv/join-option.js'
import { findOptionProblems, optionError } from '../../../src/spec/validate-options.js'
import { FUZZ } from '../../support/byte-fuzzer.js'
import { readOption } from '../../support/qemu-arguments.js'

const TIMEOUT_MS = 30_000 + FUZZ.inputs
const parameters = (share: number) => ({ numRuns: Math.ceil(FUZZ.inputs * share), seed: FUZZ.seed })

/** Strings that try to inject a further value or option into QEMU's command line. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc
    .array(
      fc.constantFrom(
        ',',
        ',,',
        '=',
        '-',
        ' ',
        '\n',
        '"',
        "'",
        '%',
        'id',
        'file',
        'exec:',
        '/tmp/x',
        '\0',
        'é',
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join('')),
  fc.constantFrom(
    '-device',
    'x,readonly=off',
    'on,spawn=allow',
    '512M',
    '30s',
    'ssh',
    'q35',
    '/a/b',
    'https://x/y',
  ),
)
const value = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.anything(),
)
const NAMES = {
  image: fc.oneof(
    value,
    fc.record({ path: value, format: value, url: value, sha256: value, secret: value }, { requiredKeys: [] }),
  ),
  network: fc.record(
    { internet: value, model: value, mac: value, tftp: value, bootfile: value },
    { requiredKeys: [] },
  ),
  hostfwd: fc.array(
    fc.record({ guest: value, host: value, protocol: value, bind: value }, { requiredKeys: [] }),
    { maxLength: 2 },
  ),
  ssh: fc.oneof(
    fc.constant(false),
    fc.record({ user: value, password: value, port: value }, { requiredKeys: [] }),
  ),
  timeouts: fc.record({ start: value, body: value }, { requiredKeys: [] }),
  limits: fc.record({ disk: value, console: value }, { requiredKeys: [] }),
  ...Object.fromEntries(
    [
      'name',
      'qemu',
      'accel',
      'machine',
      'cpu',
      'cpus',
      'memory',
      'kernel',
      'initrd',
      'append',
      'boot',
      'ready',
      'tmpdir',
      'artifacts',
      'qemuArgs',
      'start',
      'keepOnFailure',
      'unknown',
    ].map((name) => [name, value]),
  ),
}

test(
  'any value of an option is accepted or rejected with a readable message',
  () => {
    const options = fc.oneof(fc.record(NAMES, { requiredKeys: [] }), fc.anything())
    fc.assert(
      fc.property(options, (given) => {
        const problems = findOptionProblems(given)
        if (problems.length === 0) return
        const error = optionError(problems)
        expect(error.code).toBe('INVALID_OPTIONS')
        expect(error.message).not.toMatch(/(?!\n|\t)\p{Cc}/u)
      }),
      parameters(0.15),
    )
  },
  TIMEOUT_MS,
)

test(
  'QEMU parses an option back to the values it was built from',
  () => {
    const values = fc.dictionary(fc.stringMatching(/^[a-z][a-z.-]{0,8}$/), text, { minKeys: 1, maxKeys: 5 })
    fc.assert(
      fc.property(values, (given) => {
        expect(readOption(joinOption('head', given))).toEqual([['head', ''], ...Object.entries(given)])
      }),
      parameters(0.05),
    )
  },
  TIMEOUT_MS,
)

test(
  'sizes and durations parse to a positive number or to undefined',
  () => {
    fc.assert(
      fc.property(value, (given) => {
        for (const parsed of [parseMemorySize(given), parseDuration(given)])
          if (parsed !== undefined) expect(parsed).toBeGreaterThan(0)
        if (typeof given === 'string' && !given.includes('\0')) expect(quoteWord(given)).toSatisfy(isOneWord)
      }),
      parameters(0.02),
    )
  },
  TIMEOUT_MS,
)

/** Returns true if a POSIX shell parses the string as one word. */
function isOneWord(word: string): boolean {
  return /^(?:[\w@%+=:,./-]+|(?:'[^']*'|\\')+)$/.test(word)
}

test('options that cannot be serialized are rejected with one problem', () => {
  const circular: { self?: unknown } = {}
  circular.self = circular
  for (const unserializable of [
    { toString: '' },
    Object.create(null),
    { toJSON: () => undefined },
    circular,
    { big: 1n },
    Symbol('s'),
  ]) {
    for (const options of [
      { hostfwd: [{ guest: 80, host: unserializable }] },
      { hostfwd: [{ guest: 80, host: 90, protocol: unserializable }] },
      { ssh: { hostPort: unserializable } },
      { name: unserializable },
    ])
      expect(findOptionProblems(options)).toHaveLength(1)
  }
})
