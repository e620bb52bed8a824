import { describe, expect, test } from 'vitest'
import { readJournal } from '../../../../../src/vm/guest/checks/journal.js'
import { describeReadFailure, readKernelLog } from '../../../../../src/vm/guest/checks/kernel-log.js'
import {
  formatMessage,
  type LogMessage,
  MAX_MESSAGES,
  matchesMessage,
  parseJournal,
  parseKernelLog,
  parseReading,
} from '../../../../../src/vm/guest/checks/log-messages.js'

const reading = (log: string) => parseReading(`boot-1 42.5 kernel\n${log}`)

describe('the kernel log', () => {
  test('messages of the kernel log have level, time and all of their lines', () => {
    const text = [
      'the rest of a message that is no longer in the log',
      '<6>[    0.000000] Linux version 6.1',
      '<11>[   12.345678] demo: failed',
      'second line',
      '<4>[   13.000001][    T1] with a thread',
      '<2>without a time',
    ].join('\n')
    expect(parseKernelLog(text)).toEqual([
      { level: 'info', seconds: 0, message: 'Linux version 6.1', source: 'kernel' },
      { level: 'err', seconds: 12.345678, message: 'demo: failed\nsecond line', source: 'kernel' },
      { level: 'warning', seconds: 13.000001, message: 'with a thread', source: 'kernel' },
      { level: 'crit', seconds: Number.NaN, message: 'without a time', source: 'kernel' },
    ])
  })

  test('a kernel log is clean unless a message after the mark is an error', () => {
    const log = reading('<3>[    1.000000] early\n<3>[    2.000000] late\n<5>[    3.000000] note')
    expect(readKernelLog(log, {})).toMatchObject({
      isMet: false,
      never: 'the kernel log has 2 such messages',
    })
    expect(readKernelLog(log, { since: { bootId: 'boot-1', kernelSeconds: 1 } })).toEqual({
      isMet: false,
      received: '[    2.000000] err: late',
      never: 'the kernel log has 1 such message',
      evidence: [
        {
          label: 'Kernel log, from the first such message',
          text: '[    2.000000] err: late\n[    3.000000] notice: note',
        },
      ],
    })
    expect(readKernelLog(log, { since: { bootId: 'boot-1', kernelSeconds: 2 } }).isMet).toBe(true)
    expect(readKernelLog(log, { since: { bootId: 'boot-0', kernelSeconds: 2 } }).isMet).toBe(false)
    expect(readKernelLog(log, { allow: [/^late$/, 'ear'] }).isMet).toBe(true)
  })

  test('a kernel log that was restored to a time before the mark cannot be compared with it', () => {
    const log = reading('<6>[    0.000000] Linux version 6.1')
    const since = { bootId: 'boot-1', kernelSeconds: 60 }
    expect(() => readKernelLog(log, { since })).toThrow(/restored to 42\.5 s after its boot, before the mark/)
  })

  test('a kernel log without times cannot be compared with a mark', () => {
    const log = reading('<6>Linux version 6.1')
    expect(readKernelLog(log, {}).isMet).toBe(true)
    const since = { bootId: 'boot-1', kernelSeconds: 1 }
    expect(() => readKernelLog(log, { since })).toThrow(/Remove `printk\.time=0`/)
  })

  test.each([
    'BUG: unable to handle page fault for address: 0000000000000000',
    'BUG: soft lockup - CPU#0 stuck for 22s! [demo:1]',
    'Oops: 0002 [#1] PREEMPT SMP NOPTI',
    'invalid opcode: 0000 [#1] SMP',
    'general protection fault, probably for non-canonical address 0xdead: 0000 [#2] SMP',
    'kernel BUG at fs/ext4/inode.c:1!',
    'Internal error: Oops - BUG: 00000000f2000800 [#1] SMP',
    'WARNING: CPU: 1 PID: 2 at mm/slub.c:3 demo+0x1/0x2 [demo]',
    'WARNING: mm/slub.c:3 at demo+0x1/0x2, CPU#0: demo/1',
    'WARNING: suspicious RCU usage',
    'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:',
    'Out of memory: Killed process 12 (demo) total-vm:1kB',
    'Memory cgroup out of memory: Killed process 12 (demo)',
    'demo: page allocation failure: order:4, mode:0xcc0',
    'UBSAN: array-index-out-of-bounds in demo.c:1:2',
  ])('a kernel log with %j is not clean, whatever its level', (message) => {
    expect(readKernelLog(reading(`<6>[    1.000000] ${message}`), {}).isMet).toBe(false)
  })

  test.each([
    'ACPI BIOS Warning (bug): optional field',
    'Spectre V2 : WARNING: Unprivileged eBPF is enabled',
    'traps: demo[12] general protection fault ip:1 sp:2 error:0 in demo',
    'demo[12]: segfault at 0 ip 0 sp 0 error 4',
    'rcu: Preemptible hierarchical RCU implementation.',
    'debug: 0000 events',
  ])('a kernel log with the information %j is clean', (message) => {
    expect(readKernelLog(reading(`<6>[    1.000000] ${message}`), {}).isMet).toBe(true)
  })

  test('a kernel log of megabytes is read in little time', () => {
    const before = process.cpuUsage()
    const hostile = ['<3>\n'.repeat(4e6), `<4>${'WARNING: a'.repeat(8e5)}`, `<4>${'0000 ['.repeat(1e6)}`]
    const [short, ...long] = hostile
    expect(() => readKernelLog(reading(short as string), {})).toThrow(`${MAX_MESSAGES} messages or more`)
    for (const text of long) expect(readKernelLog(reading(text), {}).isMet).toBeTypeOf('boolean')
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1e6).toBeLessThan(4)
  })

  test('a log that a user may not read fails even a negated check, and others may be read later', () => {
    const denied = { stderr: 'dmesg: klogctl: Operation not permitted\n', exitCode: 1 }
    const fail = () => describeReadFailure('kernel log', denied, { until: false, holdMs: 0 })
    expect(fail).toThrow(expect.objectContaining({ code: 'WAIT_FAILED' }))
    expect(fail).toThrow(/The kernel log of the guest cannot be checked[\s\S]*Fix: Log in as root, or allow/)
    expect(() => describeReadFailure('journal', { stderr: '', exitCode: 127 })).toThrow(/image with systemd/)
    const killed = { stderr: '', exitCode: 137 }
    expect(describeReadFailure('journal', killed)).toEqual({ isMet: false, received: 'exit code 137' })
    expect(describeReadFailure('journal', killed, { until: false, holdMs: 0 }).isMet).toBe(true)
  })
})

describe('the journal', () => {
  const entry = (fields: object) =>
    JSON.stringify({ __CURSOR: 's=1', __MONOTONIC_TIMESTAMP: '1500000', ...fields })

  test('entries of the journal have program, level and time, also if they are not UTF-8', () => {
    const text = [
      entry({ MESSAGE: 'hello', PRIORITY: '4', SYSLOG_IDENTIFIER: 'sshd', _PID: '12' }),
      entry({ MESSAGE: [104, 105, 255], SYSLOG_IDENTIFIER: 'demo' }),
      entry({
        MESSAGE: ['first', [108, 97, 115, 116]],
        PRIORITY: '3',
        SYSLOG_IDENTIFIER: 'kernel',
        _PID: '1',
      }),
      entry({ __CURSOR: 's=2', MESSAGE: null }),
      '{"MESSAGE": ',
      `${'{"MESSAGE":'.padEnd(100_000, '[')}`,
      '-- Boot --',
    ].join('\n')
    const { messages, cursor } = parseJournal(text)
    expect(messages.map(formatMessage)).toEqual([
      '[    1.500000] warning sshd[12]: hello',
      '[    1.500000] info demo: hi\ufffd',
      '[    1.500000] err: last',
      '[    1.500000] info unknown: ',
    ])
    expect(cursor).toBe('s=2')
    expect(parseJournal(text, 's=1').messages).toHaveLength(1)
  })

  test('a pattern matches a message of the journal with and without the name of its program', () => {
    const [message] = parseJournal(entry({ MESSAGE: 'failed', SYSLOG_IDENTIFIER: 'demo' })).messages
    for (const pattern of [/^failed$/, /^demo: failed$/, 'demo: f'])
      expect(matchesMessage(message as LogMessage, pattern)).toBe(true)
    expect(matchesMessage(message as LogMessage, /^: /)).toBe(false)
  })

  test('lines of the journal that are allowed are ignored', () => {
    const lines = '2026-01-01 demo[1]: a\n2026-01-01 demo[1]: b\n'
    expect(readJournal(lines, [/: a$/]).received).toBe('2026-01-01 demo[1]: b')
    expect(readJournal(lines, [/: a$/, 'demo[1]: b']).isMet).toBe(true)
  })
})

test('an error whose text contains line separators other than a newline is an error', () => {
  const messages = parseKernelLog('<6>[1.0] fine\n<3>[2.0] mydrv: failed\r\n<3>[3.0] a\u2028b\n')
  expect(messages.map(({ level, message }) => [level, message])).toEqual([
    ['info', 'fine'],
    ['err', 'mydrv: failed'],
    ['err', 'a\u2028b'],
  ])
})
