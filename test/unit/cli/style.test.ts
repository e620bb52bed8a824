import { WriteStream } from 'node:tty'
import { expect, onTestFinished, test, vi } from 'vitest'
import { paintError } from '../../../src/cli/style.js'
import { formatTable } from '../../../src/cli/table.js'

const ERROR = 'withvm: It failed.\n  Got:      x\n\nSerial console:\n  | Fix: lies\n\nFix: Repair it.'

function setColors(settings: Readonly<Record<'FORCE_COLOR' | 'NO_COLOR', string | undefined>>): void {
  for (const [name, value] of Object.entries(settings)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
}

test('errors and headings have colors with FORCE_COLOR, and none without a terminal', () => {
  setColors({ FORCE_COLOR: undefined, NO_COLOR: undefined })
  expect(paintError(ERROR)).toBe(ERROR)
  expect(formatTable([['a']], { heading: ['NAME'] })).toBe('NAME\na')
  setColors({ FORCE_COLOR: '1', NO_COLOR: undefined })
  const painted = paintError(ERROR)
  expect(painted).toContain('\u001b[31m\u001b[1mwithvm:\u001b[22m\u001b[39m It failed.')
  expect(painted).toContain('\u001b[2m  | Fix: lies\u001b[22m')
  expect(painted).toContain('\u001b[32mFix:\u001b[39m Repair it.')
  expect(formatTable([['a']], { heading: ['NAME'] })).toBe('\u001b[1mNAME\u001b[22m\na')
})

test('NO_COLOR and FORCE_COLOR=0 switch colors off on a terminal', () => {
  vi.stubEnv('TERM', 'xterm-256color')
  // Node.js takes a terminal in an unknown CI for one without colors.
  vi.stubEnv('CI', undefined)
  const { getColorDepth } = WriteStream.prototype
  const terminal = Object.assign(Object.create(process.stderr), { isTTY: true, getColorDepth })
  setColors({ FORCE_COLOR: undefined, NO_COLOR: undefined })
  expect(paintError(ERROR, terminal)).not.toBe(ERROR)
  setColors({ FORCE_COLOR: undefined, NO_COLOR: '1' })
  expect(paintError(ERROR, terminal)).toBe(ERROR)
  setColors({ FORCE_COLOR: '0', NO_COLOR: undefined })
  expect(paintError(ERROR, terminal)).toBe(ERROR)
})
