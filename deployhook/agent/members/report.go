package members

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

const (
	reportTime = 10 * time.Second
	maxAnswer  = 1 << 20
)

// Answer is what a proxy says to a report.
type Answer struct {
	Proxy  string              `json:"proxy"`   // that answers; empty: an older one
	StopOK []string            `json:"stop_ok"` // instances that it does not need any more
	Others map[string][]string `json:"others"`  // the same of other proxies, which it has asked
}

// Report delivers a report to the first proxy that takes it.
func (m *Members) Report(ctx context.Context, r messages.Report) (Answer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Answer{}, fmt.Errorf("encode report: %w", err)
	}
	errs := []error{errors.New("report: no proxy took it")}
	for _, x := range m.Order() {
		answer, err := m.ReportTo(ctx, x, body)
		if err == nil {
			answer.Proxy = cmp.Or(answer.Proxy, x.Name)
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", cmp.Or(x.Name, x.Addr), err))
		if ctx.Err() != nil {
			break
		}
	}
	return Answer{}, errors.Join(errs...)
}

// ReportTo delivers a report, encoded, to one proxy.
func (m *Members) ReportTo(ctx context.Context, x messages.Peer, body []byte) (answer Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+x.Addr+"/v1/agent/report", bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := m.client(catalog.RoleProxy, x).Do(req)
	if err != nil {
		return answer, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusNoContent:
		return answer, nil
	case http.StatusOK:
		b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err == nil && len(bytes.TrimSpace(b)) > 0 {
			err = json.Unmarshal(b, &answer)
		}
		return answer, err
	}
	return answer, answerError(res)
}

// answerError turns a refusal into words; the beginning of the body says why.
func answerError(res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	return fmt.Errorf("it answers %s: %s", res.Status, bytes.TrimSpace(b))
}
