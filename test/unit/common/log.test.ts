import { afterEach, expect, test, vi } from 'vitest'
import { createLog, logLines, logToStderr } from '../../../src/common/log.js'
import { createProgress } from '../../../src/common/progress.js'

const HOSTILE = 'x\u001b]0;owned\u0007\u001b[2J\r\n::warning::a line of its own\u202e'
const SAFE = 'x\\u001b]0;owned\\u0007\\u001b[2J ::warning::a line of its own\\u202e'

afterEach(() => void vi.restoreAllMocks())

test('text of a guest in a message of the log cannot drive the terminal, and adds no line', () => {
  const lines: string[] = []
  createLog((line) => lines.push(line))(`cloud-init: ${HOSTILE}`)
  expect(lines).toEqual([`cloud-init: ${SAFE}`])
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  logToStderr(HOSTILE)
  expect(write.mock.calls).toEqual([[`withvm: ${SAFE}\n`]])
})

test('a long message of the log is shortened, and a text of several lines becomes several messages', () => {
  const lines: string[] = []
  const log = createLog((line) => lines.push(line))
  log(`start ${'\u0001'.repeat(10)}${'x'.repeat(16 * 1024 * 1024)} end`)
  expect(lines[0]).toMatch(/^start .* \(\d+ characters omitted\) .* end$/)
  expect(lines[0]?.length).toBeLessThan(5000)
  logLines(log, 'one\n  two')
  expect(lines.slice(1)).toEqual(['one', '  two'])
})

test.each([true, false])('text of a server in a progress message is one line on a terminal: %s', (isTTY) => {
  vi.useFakeTimers()
  try {
    const written: string[] = []
    const progress = createProgress(`image ${HOSTILE}`, { isTTY, write: (text) => written.push(text) })
    progress.report(`downloading ${HOSTILE}`, HOSTILE)
    vi.advanceTimersByTime(2000)
    progress.end('done')
    const output = written.join('')
    expect(output).toContain(`withvm: image ${SAFE}: downloading ${SAFE}`)
    // The terminal's own sequence, which clears the line.
    expect(output.replaceAll('\r\u001b[2K', '')).not.toMatch(/(?!\n)\p{Cc}/u)
    expect(output).not.toContain('\n::')
  } finally {
    vi.useRealTimers()
  }
})

test('the progress of a step is shown every few seconds without a terminal, and repeated lines are not', () => {
  vi.useFakeTimers()
  try {
    const written: string[] = []
    const progress = createProgress('image', { write: (text) => written.push(text) })
    for (let ms = 0; ms < 12_000; ms += 500) {
      progress.report('downloading', `${ms / 1000} MiB of 12 MiB`)
      vi.advanceTimersByTime(500)
    }
    for (let ms = 0; ms < 12_000; ms += 500) {
      progress.report('unpacking')
      vi.advanceTimersByTime(500)
    }
    progress.end('done')
    expect(written).toEqual([
      'withvm: image: downloading, 0.5 MiB of 12 MiB\n',
      'withvm: image: downloading, 6 MiB of 12 MiB\n',
      'withvm: image: downloading, 11 MiB of 12 MiB\n',
      'withvm: image: unpacking\n',
      'withvm: image: done (24 s)\n',
    ])
  } finally {
    vi.useRealTimers()
  }
})
