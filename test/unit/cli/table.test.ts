import { expect, test } from 'vitest'
import { formatTable } from '../../../src/cli/table.js'

test('columns of a table are aligned, and no line ends with spaces', () => {
  const rows = [
    ['NAME', 'PID'],
    ['long-name', '1', 'more'],
    ['', '', 'note'],
  ]
  expect(formatTable(rows).split('\n')).toEqual([
    'NAME       PID',
    'long-name  1    more',
    '                note',
  ])
})

test('a cell of a table is one line, without control characters', () => {
  expect(formatTable([['a\u001b[2J\n::error::b', 'c']])).toBe('a\\u001b[2J ::error::b  c')
})
