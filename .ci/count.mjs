// Prints the failed tests of several runs and the number of tests. Fails if a run did not finish or no guest test passed.
import { existsSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'

/** Characters of a failure's messages. Several failures must fit into the part of the output that a CI shows. */
const MESSAGE_LENGTH = 500

/** Returns the messages of a test's tries, without the calls of the test runner. */
function shorten(messages) {
  const lines = messages.flatMap((message) => message.split('\n'))
  const own = lines.filter((line) => line.trim() !== '' && !/^ +at .*node_modules/.test(line))
  return own.join('\n').slice(0, MESSAGE_LENGTH).replace(/^/gm, '    ')
}

const files = process.argv.slice(2)
for (const file of files.filter((name) => !existsSync(name))) {
  console.log(`${file} does not exist: that run did not finish.`)
  process.exitCode = 1
}
const tests = files
  .filter((file) => existsSync(file))
  .flatMap((file) => JSON.parse(readFileSync(file, 'utf8')).testResults)
  .flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ status, fullName, failureMessages }) => ({
      status,
      isOfGuest: name.includes('/test/guest/'),
      report: `${relative('.', name)} > ${fullName}\n${shorten(failureMessages)}`,
    })),
  )
// A CI may show only the end of the output, where the reports of Vitest are missing.
for (const { report } of tests.filter(({ status }) => status === 'failed')) console.log(`FAILED ${report}\n`)
const count = (isWanted) => tests.filter(isWanted).length
const passed = count(({ status }) => status === 'passed')
const failed = count(({ status }) => status === 'failed')
if (count(({ status, isOfGuest }) => isOfGuest && status === 'passed') === 0) {
  console.log('No guest test passed.')
  process.exitCode = 1
}
console.log(`${passed} passed, ${failed} failed, ${tests.length - passed - failed} skipped`)
