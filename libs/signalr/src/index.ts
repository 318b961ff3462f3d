export { connectSignalR, signalrUser, type SignalRService } from './signalr-service.ts'
