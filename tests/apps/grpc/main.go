// Command grpc is an application that speaks gRPC: a call of each kind, over HTTP/2 without TLS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type message = wrapperspb.BytesValue

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	s.RegisterService(&service, nil)
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	if len(os.Args) > 1 { // beside pages
		web := &http.Server{Handler: pages(s), Protocols: new(http.Protocols)}
		web.Protocols.SetUnencryptedHTTP2(os.Args[1] == "web")
		web.Protocols.SetHTTP1(os.Args[1] == "old")
		go func() {
			<-end
			_ = web.Shutdown(context.Background())
		}()
		if err := web.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	go func() {
		<-end
		s.GracefulStop()
	}()
	return s.Serve(ln)
}

// pages are what is no call.
func pages(s http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			s.ServeHTTP(w, r)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %s %s %d from %s", r.Proto, r.Method, r.URL.Path, n, server())
	})
}

// server is who answers: an instance that the agent has started, or one by itself.
func server() string {
	if name := os.Getenv("PORTICO_SERVER"); name != "" {
		return name
	}
	return strconv.Itoa(os.Getpid())
}

var service = grpc.ServiceDesc{
	ServiceName: "test.Calls", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "One", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(message)
		if err := decode(in); err != nil {
			return nil, err
		}
		return one(ctx, in)
	}}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Down", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return down(s) }},
		{StreamName: "Up", ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return up(s) }},
		{StreamName: "Both", ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return both(s) }},
	},
}

// one answers with what it was given, or does what that says.
func one(ctx context.Context, in *message) (*message, error) {
	switch string(in.Value) {
	case "fail":
		return nil, status.Error(codes.NotFound, "there is no such thing")
	case "wait":
		<-ctx.Done()
		fmt.Println("a call ended:", ctx.Err())
		return nil, ctx.Err()
	}
	in2, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-server", server(), "x-forwarded-for", strings.Join(in2.Get("x-forwarded-for"), ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-size", strconv.Itoa(len(in.Value))))
	return in, nil
}

// down answers with as many messages as it is told.
func down(s grpc.ServerStream) error {
	in := new(message)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(in.Value))
	for i := range n {
		if err := s.SendMsg(&message{Value: []byte(strconv.Itoa(i))}); err != nil {
			return err
		}
	}
	return nil
}

// up answers with how much it was sent.
func up(s grpc.ServerStream) error {
	messages, size := 0, 0
	for {
		in := new(message)
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(&message{Value: fmt.Appendf(nil, "%d %d", messages, size)})
		}
		if err != nil {
			fmt.Println("a call ended:", err)
			return err
		}
		messages, size = messages+1, size+len(in.Value)
	}
}

// both answers each message with itself.
func both(s grpc.ServerStream) error {
	for {
		in := new(message)
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			fmt.Println("a call ended:", err)
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}
