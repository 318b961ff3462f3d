export { startOpenAITwin } from './start-openai-twin.ts'
export type { OpenAITwin, OpenAITwinOptions } from './start-openai-twin.ts'
export type { TwinConfigInput } from './config.ts'
