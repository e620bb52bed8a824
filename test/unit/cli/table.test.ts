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
