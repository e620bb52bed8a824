import { expect, test } from 'vitest'
import { toCliTerms } from '../../../src/cli/cli-terms.js'
import { addGuestFlags, readGuestFlags } from '../../../src/cli/guest-options.js'
import { readImageSource } from '../../../src/cli/image-flags.js'
import { buildProgram } from '../../../src/cli/program.js'
import { findOptionProblems, optionError } from '../../../src/spec/validate-options.js'

test('an error about options names the flags and the values as they were typed', () => {
  const flags = { memory: '12x', cpus: 'many', hostfwd: ['http', '8080:99999'], format: 'qcow9' }
  const options = readGuestFlags('./disk', flags, () => '')
  const lines = toCliTerms(optionError(findOptionProblems(options)).message).split('\n')
  expect(lines[0]).toBe('5 options are invalid; no guest was started.')
  const problems = lines.slice(1, 6).map((line) => line.replace(/expected .*, got/, 'expected …, got'))
  expect(problems.sort()).toEqual([
    '  - --cpus: expected …, got "many"',
    '  - --format: expected …, got "qcow9"',
    '  - --hostfwd: expected …, got "http"',
    '  - --hostfwd: expected …, got 99999',
    '  - --memory: expected …, got "12x"',
  ])
  expect(lines.at(-1)).toBe(
    'Fix: Change the options listed above. Run `withvm run --help` to list all options.',
  )
})

test.each([
  ["Use `accel: 'tcg'`, or run `withvm doctor`.", 'Use `--accel tcg`, or run `withvm doctor`.'],
  ['Give the guest more `memory`.', 'Give the guest more `--memory`.'],
  ['Use the option `kernel` for a kernel.', 'Use the option `--kernel` for a kernel.'],
  ["Set `start: 'cold'`.", 'Set `--cold`.'],
  ['Set `network: { internet: true }` if needed.', 'Set `--internet` if needed.'],
  ['`timeouts: { start: … }` limits the whole start.', '`--timeout` limits the whole start.'],
  ['Specify one with the option `qemu` or with WITHVM_QEMU=/path.', 'Specify one with WITHVM_QEMU=/path.'],
  ['Set the option `tmpdir` (or TMPDIR) to a folder.', 'Set TMPDIR to a folder.'],
  ['Download less, or raise `maxBytes`.', 'Download less.'],
  ['withVM() requires QEMU.', '`withvm run` requires QEMU.'],
  ['No flag sets `limits: { disk: … }`.', 'No flag sets `limits: { disk: … }`.'],
  ['the program `constructor`', 'the program `constructor`'],
])('the text %j becomes %j on the command line', (text, expected) => {
  expect(toCliTerms(text)).toBe(expected)
})

test('evidence of a guest is not rewritten', () => {
  expect(toCliTerms('Serial console:\n  | `memory`\nFix: More `memory`.')).toBe(
    'Serial console:\n  | `memory`\nFix: More `--memory`.',
  )
})

test('each flag that a rewritten message names exists', () => {
  const known = addGuestFlags(buildProgram().createCommand('run')).options.map(({ long }) => `${long}`)
  const names = 'accel append arch commandLine cpu cpus firmware format hostfwd initrd kernel machine memory'
  const more = 'network runAs secret image.sha256 image.sha512 ssh.user ssh.privateKey start timeouts.start'
  for (const name of `${names} ${more}`.split(' ')) {
    const flag = /`(--[a-z0-9-]+)`/.exec(toCliTerms(`\`${name}\``))?.[1]
    expect(known, name).toContain(flag)
  }
})

test('a checksum of a path is rejected in terms of its flag', () => {
  expect(() => readImageSource('./disk', { sha512: '0' })).toThrow(
    'The option `--sha512` is the checksum of a download.\n  Expected: a URL as image',
  )
})
