import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SerialScreen } from '../../../../src/channel/serial/serial-screen.js'
import { eventually } from '../../../support/eventually.js'
import { openSerialPeer, type SerialPeer } from '../../../support/serial-peer.js'

let peer: SerialPeer

beforeEach(async () => {
  peer = await openSerialPeer()
})

afterEach(() => peer[Symbol.asyncDispose]())

/** Writes as the guest and waits until the console has received everything. */
async function write(text: string): Promise<void> {
  const end = peer.serial.text.length + text.length
  peer.guest.write(text)
  await eventually(() => expect(peer.serial.text.length).toBe(end))
}

/** Returns the most processor time, in milliseconds, that this process used without a turn of its timers. */
async function longestBlockMs(work: () => Promise<void>): Promise<number> {
  let longestUs = 0
  let last = process.cpuUsage()
  const turn = () => {
    const { user, system } = process.cpuUsage(last)
    longestUs = Math.max(longestUs, user + system)
    last = process.cpuUsage()
  }
  const timer = setInterval(turn, 1)
  try {
    await work()
    turn()
  } finally {
    clearInterval(timer)
  }
  return longestUs / 1000
}

describe('screen of the serial console', () => {
  test('the screen shows earlier output as a terminal would', async () => {
    await write('old\r\n\x1b[2J\x1b[HMenu\r\n  \x1b[7m one \x1b[0m\r\n   two')
    const screen = await peer.serial.screen()
    expect(screen.lines).toHaveLength(24)
    expect(screen.lines.slice(0, 4)).toEqual(['Menu', '   one', '   two', ''])
    expect(screen.text).toBe('Menu\n   one\n   two')
    expect(screen.cursor).toEqual({ row: 2, column: 6 })
    expect({ columns: screen.columns, rows: screen.rows }).toEqual({ columns: 80, rows: 24 })
  })

  test('the screen shows new output of the guest', async () => {
    const screen = await peer.serial.screen()
    await write('10%')
    await screen.waitFor('10%')
    await write('\r20%\x1b[5;3Hthere')
    await screen.waitFor('there')
    expect(screen.text).toBe('20%\n\n\n\n  there')
  })

  test('sequences with a repeat count of a billion do not block the process', async () => {
    const screen = await peer.serial.screen()
    for (const final of ['L', 'M', 'S', 'T', 'I', 'Z', 'b']) await write(`x\x1b[999999999${final}`)
    await write('\x1b[2J\x1b[Hafter')
    await screen.waitFor('after')
    // Realistic repeat counts are executed.
    await write('\x1b[2;1Hlow\x1b[H\x1b[1S')
    await screen.waitFor(/^low/)
    expect(screen.text).toBe('low')
  })

  test.each([
    ['lines that are inserted', '', '\x1b[512L\x1b[80L', 4000],
    ['resets', '', '\x1bc', 32_000],
    ['lines that move below links', '\x1b]8;;a\x07'.repeat(9000), '\x1b[24H\x1b[24L', 400],
    ['a long list of colors', '', `\x1b]4;${'1;?;'.repeat(100_000)}\x07`, 2],
    ['a character with many accents that is repeated', `e${'\u0301'.repeat(150_000)}`, '\x1b[80b', 1],
  ])(
    'output of %s does not block the process',
    async (_, start, sequence, count) => {
      const screen = await peer.serial.screen()
      const blockMs = await longestBlockMs(async () => {
        peer.guest.write(`${start}${sequence.repeat(count)}\x18\x1bcneedle`)
        await screen.waitFor(/^needle$/)
      })
      expect(screen.text).toBe('needle')
      expect(blockMs).toBeLessThan(300)
    },
    15_000,
  )

  test('a character with millions of accents takes little memory, and later text is drawn', async () => {
    const screen = await peer.serial.screen()
    await write(`e${'\u0301'.repeat(400_000)}`)
    await write('\r\nnext\r\n')
    await screen.waitFor('next')
    expect(screen.text.length).toBeLessThan(20_000)
    expect(screen.lines).toContain('next')
  })

  test('accents are drawn, also where the text of the guest comes in pieces', async () => {
    const screen = await peer.serial.screen()
    await write('e\u0301'.repeat(70))
    await write('e')
    await write('\u0301')
    await screen.waitFor(/(e\u0301){71}/)
    expect(screen.text).toBe('e\u0301'.repeat(71))
  })

  test('the screen is restored when a program leaves the alternate screen', async () => {
    const screen = await peer.serial.screen()
    await write('$ vi\r\n\x1b[?1049h\x1b[2J\x1b[Hediting')
    await screen.waitFor('editing')
    expect(screen.text).toBe('editing')
    await write('\x1b[?1049l$ ')
    await screen.waitFor(/^\$ $/)
    expect(screen.text).toBe('$ vi\n$ ')
  })

  test('all calls of `screen()` return one screen, in the last requested size', async () => {
    const first = await peer.serial.screen({ columns: 20, rows: 5 })
    await write(`${'x'.repeat(30)}\r\n`)
    await first.waitFor('x')
    expect(first.lines).toEqual(['x'.repeat(20), 'x'.repeat(10), '', '', ''])
    const second = await peer.serial.screen({ rows: 10 })
    expect([first.columns, first.rows, second.columns, second.rows]).toEqual([20, 10, 20, 10])
  })

  test('long lines are wrapped although SeaBIOS disables wrapping', async () => {
    await write(`\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n${'x'.repeat(90)}`)
    expect((await peer.serial.screen()).lines.slice(1, 3)).toEqual(['x'.repeat(80), 'x'.repeat(10)])
  })

  test('the screen is reset at each power-on', async () => {
    const screen = await peer.serial.screen()
    await write('\x1b[?1049h\x1b[5;20r\x1b[10;10Hold\x1b[3')
    await screen.waitFor('old')
    await peer.powerOn()
    await write('new')
    await screen.waitFor(/^new$/)
    expect(screen.text).toBe('new')
  })

  test('the screen survives garbage', async () => {
    const screen = await peer.serial.screen()
    const garbage = Buffer.from(
      Array.from({ length: 200_000 }, (_, index) => (index * 7919 + (index >> 8)) % 256),
    )
    peer.guest.write(garbage)
    peer.guest.write('\x18\x1bcneedle\x1b[?25l')
    await screen.waitFor('needle')
    expect(screen.cursor.row).toBe(0)
  })

  test('the screen shows the end of a flood and uses bounded memory', async () => {
    const screen = await peer.serial.screen()
    const chunk = Buffer.from(`${'flood '.repeat(12)}\r\n`.repeat(14_000))
    const before = process.memoryUsage().rss
    let most = 0
    for (let index = 0; index < 60; index++) {
      if (!peer.guest.write(chunk)) await new Promise((resolve) => peer.guest.once('drain', resolve))
      most = Math.max(most, process.memoryUsage().rss - before)
    }
    peer.guest.write('needle\r\n')
    await screen.waitFor('needle')
    expect(screen.lines.slice(20)).toEqual([
      'flood '.repeat(12).trim(),
      'flood '.repeat(12).trim(),
      'needle',
      '',
    ])
    expect(most).toBeLessThan(300 * 1024 * 1024)
  }, 60_000)

  test('the terminal replies to queries only if `replies` is true, and not to earlier queries', async () => {
    await write('\x1b[6n')
    const screen = await peer.serial.screen()
    await write('shell \x1b[6n$')
    await screen.waitFor('$')
    expect(peer.typed()).toBe('')
    await peer.serial.screen({ replies: true })
    await write('\r\n\x1b[999;999H\x1b[6n')
    await peer.serial.type('typed')
    await eventually(() => expect(peer.typed()).toBe('\x1b[24;80Rtyped'))
  })

  test('terminal replies to a guest that does not read are dropped, and later ones are sent', async () => {
    const screen = await peer.serial.screen({ replies: true })
    peer.guest.pause()
    await write(`${'\x1b[6n'.repeat(200_000)}asked`)
    await screen.waitFor('asked')
    peer.guest.resume()
    await peer.serial.type('end')
    await eventually(() => expect(peer.typed().endsWith('end')).toBe(true))
    // All replies together are 1.2 MB.
    expect(peer.typed().length).toBeLessThan(600_000)
    await write('\x1b[6n')
    await eventually(() => expect(peer.typed().endsWith('end\x1b[1;6R')).toBe(true))
  }, 60_000)

  test.each([
    [{ columns: 1 }, 'serial.screen() does not support this number of columns.', '2 to 1000', '1'],
    [{ rows: 1.5 }, 'serial.screen() does not support this number of rows.', '1 to 1000', '1.5'],
    [{ rows: 2000 }, 'serial.screen() does not support this number of rows.', '1 to 1000', '2000'],
  ])('a screen of the size %j is rejected', async (size, summary, range, got) => {
    await expect(peer.serial.screen(size)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: `${summary}\n  Expected: an integer from ${range}\n  Got:      ${got}\nFix: Use the size of a common terminal: 80 columns and 24 rows.`,
    })
  })
})

describe('waits for the screen', () => {
  test('`screen.waitFor()` returns the match with its groups', async () => {
    const screen = await peer.serial.screen()
    const found = screen.waitFor(/^Progress: (?<percent>\d+)%$/)
    await write('\x1b[3;1HProgress: ')
    await write('42%')
    expect((await found).groups?.percent).toBe('42')
  })

  test('`screen.waitFor()` times out with the complete screen in the message', async () => {
    const screen = await peer.serial.screen({ columns: 40, rows: 5 })
    await write('Choose:\r\n > one\r\n   two')
    const error = await screen.waitFor(/three/, { timeout: '60ms' }).catch((caught) => caught)
    expect(error.code).toBe('SERIAL_TIMEOUT')
    expect(error.message).toBe(
      [
        'The screen of the serial console did not show the pattern within 60 ms.',
        '  Expected: /three/',
        '  Got:      the screen below, with the cursor at row 2, column 6',
        '',
        'Screen, 40 x 5:',
        '  | Choose:',
        '  |  > one',
        '  |    two',
        '',
        'Fix: Compare the pattern with the screen: text may be cut off at the right edge or scrolled away.',
      ].join('\n'),
    )
  })

  test('`screen.waitFor()` ends with its guest, with its signal, and rejects an invalid pattern', async () => {
    const screen = await peer.serial.screen()
    const controller = new AbortController()
    const aborted = screen.waitFor('x', { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    await expect(screen.waitFor('')).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(screen.waitFor('x', { timeout: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    const lost = screen.waitFor('x')
    peer.serial.interrupt(new Error('the guest panicked'))
    await expect(lost).rejects.toThrow('the guest panicked')
  })
})

describe('keys of the serial console', () => {
  test('keys send the sequences of xterm', async () => {
    await peer.serial.press('Down', 'Enter', 'Ctrl-C', 'F2', 'F12', 'Shift-Tab', 'Alt-x', 'y', 'Backspace')
    await eventually(() => expect(peer.typed()).toBe('\x1b[B\r\x03\x1bOQ\x1b[24~\x1b[Z\x1bxy\x7f'))
  })

  test('keys follow the application mode set by a program before the screen was opened', async () => {
    await write('\x1b[?1h')
    await peer.serial.press('Up', 'Home', 'PageUp')
    await write('\x1b[?1l')
    await peer.serial.press('Up')
    await eventually(() => expect(peer.typed()).toBe('\x1bOA\x1bOH\x1b[5~\x1b[A'))
  })

  test('no key is pressed if one of them is unknown', async () => {
    const error = await peer.serial.press('Down', 'Entr').catch((caught) => caught)
    expect(error.message).toBe(
      [
        'serial.press() does not support this key.',
        '  Expected: a name (Enter, Tab, Escape, Backspace, Space, Up, Down, Right, Left, End, Home, Insert, Delete, PageUp, PageDown, F5, F6, F7, F8, F9, F10, F11, F12, F1, F2, F3, F4) or one character, optionally with Ctrl-, Alt- or Shift-',
        '  Got:      "Entr"',
        "Fix: Use 'Enter'.",
      ].join('\n'),
    )
    expect(peer.typed()).toBe('')
  })

  test('`type()` sends the characters of its argument', async () => {
    await peer.serial.type('echo hä\nyes\r\n')
    await peer.serial.type('ab', { delay: '5ms' })
    await eventually(() => expect(peer.typed()).toBe('echo hä\ryes\rab'))
    await expect(peer.serial.type('x', { delay: '5' as never })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
    await expect(peer.serial.type('x', { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    )
  })
})

test('a screen that is used without `await` throws an error that names it', async () => {
  const promise = peer.serial.screen() as unknown as SerialScreen
  for (const use of [() => promise.waitFor('x'), () => promise.text, () => promise.lines]) {
    expect(use).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        hint: 'Write `const screen = await vm.serial.screen()`.',
      }),
    )
  }
  expect((await promise).text).toBe('')
})
