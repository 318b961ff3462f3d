import type { Capability, DeploymentUrl, RequestBody } from '@sluice/contracts'
import type { PromptShape } from './prompt-shape.ts'

/** Something that a request uses and that not every deployment has, and the field that uses it. */
export interface Need {
  capability: Capability
  param: string
}

/** What a deployment must be able to do for this request. Endpoints other than chat and responses need nothing more. */
export function needsOf(shape: PromptShape, body: RequestBody, url: DeploymentUrl): readonly Need[] {
  const chat = url === '/v1/chat/completions'
  if (!chat && url !== '/v1/responses') return []
  const prompt = chat ? 'body.messages' : 'body.input'
  const needs: Need[] = []
  if (shape.images > 0) needs.push({ capability: 'vision', param: prompt })
  if (shape.tools > 0) needs.push({ capability: 'tools', param: 'body.tools' })
  else if (chat && Array.isArray(body.functions)) needs.push({ capability: 'tools', param: 'body.functions' })
  if (shape.hasSchema) {
    needs.push({ capability: 'json_schema', param: chat ? 'body.response_format' : 'body.text.format' })
  }
  if (shape.hasAudio) needs.push({ capability: 'audio', param: prompt })
  else if (Array.isArray(body.modalities) && body.modalities.includes('audio')) {
    needs.push({ capability: 'audio', param: 'body.modalities' })
  }
  if (body.logprobs === true) needs.push({ capability: 'logprobs', param: 'body.logprobs' })
  return needs
}
