// Publishes a task and waits for the end of its turn: go run publish_task.go DATA_FOLDER KIND ID JSON
// Needs github.com/nats-io/nats.go, 1.22 or later.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
)

func read(into any, path string) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	data, kind, name, body := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	var run struct {
		URL         string `json:"nats_url"`
		Credentials map[string]string
	}
	var login struct{ User, Password string }
	read(&run, filepath.Join(data, "run.json"))
	read(&login, run.Credentials["publisher"])
	client, err := nats.Connect(run.URL, nats.UserInfo(login.User, login.Password),
		nats.CustomInboxPrefix("_INBOX_publisher"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	task := nats.NewMsg("ask.default." + kind)
	task.Data = []byte(body)
	task.Header.Set("Nats-Msg-Id", name) // the same id starts nothing twice
	task.Header.Set("Holdfast-Wait", "60")
	answer, err := client.RequestMsg(task, 70*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	var result struct {
		State      string
		SessionID  string `json:"session_id"`
		StopReason string `json:"stop_reason"`
		Text       string
	}
	if err := json.Unmarshal(answer.Data, &result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.State, result.SessionID, result.StopReason, result.Text)
}
