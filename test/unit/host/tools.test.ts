import { expect, test } from 'vitest'
import { requireTool } from '../../../src/host/tools.js'
import { failureOf } from '../../support/failure-of.js'

const TESSERACT = {
  program: 'no-tesseract',
  aptPackage: 'tesseract-ocr',
  why: 'recognizes text in screenshots',
}

test('`requireTool()` rejects for a missing program with the command that installs its package', async () => {
  const error = await failureOf(requireTool(TESSERACT))
  expect(error).toMatchObject({ code: 'TOOL_NOT_FOUND', kind: 'infrastructure' })
  expect(error.details.summary).toBe(
    'The program no-tesseract, which recognizes text in screenshots, was not found.',
  )
  expect(error.details.expected).toBe('no-tesseract on PATH, from the package tesseract-ocr')
  expect(error.hint).toMatch(/tesseract-ocr`|package manager/)
})
